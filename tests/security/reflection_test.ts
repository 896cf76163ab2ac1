/** Finding 2: nobody is made to send more than three times what came, to who has not asked. */

import assert from "node:assert/strict";
import { Client } from "../interop/client.ts";
import type { Frame } from "../interop/frames.ts";
import { Stranger } from "./attacker.ts";
import { delay, either, securityTest, Stage } from "./stage.ts";

const VICTIMS = ["127.0.0.66", "127.0.0.67", "127.0.0.68"];
const ATTACKER = "127.0.0.9";
const SESSIONS = either(12, 60);
const LISTEN_MS = either(1500, 5000);
/** Never more than so much, to each victim and over all sessions. */
const FACTOR = 3;

/** A seeded choice among what an attacker can do. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(count: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor(this.#state / 2 ** 32 * count);
  }
}

/** Sends of a session from any address. Its own hears ACCEPT and answers; victims say nothing. */
class Attack {
  readonly client: Client;
  readonly #stage: Stage;
  readonly #dice: Dice;
  readonly #victims: readonly Stranger[];
  #status = 1;

  constructor(stage: Stage, victims: readonly Stranger[], dice: Dice) {
    this.#stage = stage;
    this.#victims = victims;
    this.#dice = dice;
    const options = { ...stage.server.options, quiet: true, localHost: ATTACKER };
    this.client = new Client(options);
    this.client.open("127.0.0.1", stage.ports.endless);
  }

  /** HELLOs of one handshake from victims and, for its keys, from the attacker's own address. */
  async begin(): Promise<void> {
    for (let i = this.#dice.below(4); i > 0; i--) this.#fromVictim(this.client.hello());
    await this.client.handshake();
    for (let i = this.#dice.below(3); i > 0; i--) this.#fromVictim(this.client.hello());
  }

  /** All that could move the session to a victim's address. */
  send(): void {
    const [token] = this.client.challenges;
    const answer: Frame = { type: "path_response", token: token! };
    const choices: Frame[][] = [
      [answer],
      [{ type: "ping", id: 1n }],
      [{ type: "path_status", sequence: this.#status++, status: 1 }],
      [{ type: "max_data", max: 2 ** 40 }, { type: "max_stream", stream: 0, max: 2 ** 40 }],
      [answer, { type: "path_status", sequence: this.#status++, status: 1 }],
      [{
        ...{ type: "datagram", assoc: 1, data: new Uint8Array(600) },
        address: { host: "127.0.0.1", port: this.#stage.ports.echo },
      }],
      [{ type: "path_challenge", token: crypto.getRandomValues(new Uint8Array(8)) }],
    ];
    const packet = this.client.seal(choices[this.#dice.below(choices.length)]!);
    if (this.#dice.below(3) === 0) this.client.raw(packet);
    else this.#fromVictim(packet);
  }

  #fromVictim(bytes: Uint8Array): void {
    this.#victims[this.#dice.below(this.#victims.length)]!.send(this.#stage.server, bytes);
  }
}

async function attacked(body: (stage: Stage, victims: Stranger[]) => Promise<void>): Promise<void> {
  await using stage = await Stage.set({ settings: { workers: 2 } });
  const victims = await Promise.all(VICTIMS.map((host) => Stranger.bind(host)));
  await body(stage, victims);
  await delay(LISTEN_MS);
  for (const [i, { sentBytes, gotBytes }] of victims.entries()) {
    console.log(`  ${VICTIMS[i]}: ${sentBytes} B sent, ${gotBytes} B got`);
    assert.ok(gotBytes <= FACTOR * sentBytes, `${gotBytes} B to ${sentBytes} B`);
  }
  for (const victim of victims) victim.close();
}

securityTest(
  "reflection: HELLO from a victim, its keys by another, DATA from the victim",
  () =>
    attacked(async (stage, [victim]) => {
      const options = { ...stage.server.options, quiet: true, localHost: ATTACKER };
      for (let i = 0; i < SESSIONS; i++) {
        const client = new Client(options);
        client.open("127.0.0.1", stage.ports.endless);
        victim!.send(stage.server, client.hello());
        await delay(20);
        await client.handshake();
        victim!.send(stage.server, client.seal([{ type: "ping", id: 1n }]));
        await delay(20);
        // The answer to the challenge that came to the attacker proves the attacker's address.
        const [token] = client.challenges;
        victim!.send(stage.server, client.seal([{ type: "path_response", token: token! }]));
      }
      await delay(200);
      assert.ok(victim!.got > 0, "nothing came to the victim: no test");
    }),
);

securityTest(
  "reflection: a proven session, then DATA from a victim alone",
  () =>
    attacked(async (stage, [victim]) => {
      for (let i = 0; i < SESSIONS; i++) {
        const client = await stage.attacker({ localHost: ATTACKER });
        await client.ping();
        client.open("127.0.0.1", stage.ports.endless);
        await delay(30);
        client.stop();
        const frames: Frame[] = [
          { type: "path_status", sequence: 9, status: 1 },
          { type: "max_stream", stream: 0, max: 2 ** 30 },
          { type: "max_data", max: 2 ** 30 },
        ];
        for (let n = 0; n < 5; n++) victim!.send(stage.server, client.seal(frames));
      }
    }),
);

securityTest(
  "reflection: any mixture of HELLO and DATA from many addresses",
  () =>
    attacked(async (stage, victims) => {
      const dice = new Dice(20_261_130);
      const attacks = Array.from({ length: SESSIONS }, () => new Attack(stage, victims, dice));
      for (const attack of attacks) await attack.begin();
      for (let round = 0; round < 40; round++) {
        for (const attack of attacks) attack.send();
        await delay(10);
      }
      for (const { client } of attacks) client.stop();
      assert.ok(victims.every(({ got }) => got > 0), "nothing came to a victim: no test");
    }),
);

import assert from "node:assert/strict";
import { type DeliveryFacts, type DeliverySetting, planDelivery } from "./delivery.ts";

function facts(changes: Partial<DeliveryFacts> = {}): DeliveryFacts {
  return {
    interfaceName: "eth0",
    ifindex: 2,
    mode: "native",
    queues: 4,
    isLower: false,
    ...changes,
  };
}

const cases: readonly {
  readonly says: string;
  readonly setting: DeliverySetting;
  readonly workers?: number;
  readonly interfaces: readonly DeliveryFacts[];
  readonly chosen: string | undefined;
  readonly reason: RegExp;
}[] = [
  {
    says: "auto takes native XDP with a queue for each worker",
    ...{ setting: "auto", interfaces: [facts()], chosen: "eth0", reason: /measured/ },
  },
  {
    says: "socket is socket",
    ...{ setting: "socket", interfaces: [facts()], chosen: undefined, reason: /says so/ },
  },
  {
    says: "auto leaves generic XDP alone",
    setting: "auto",
    interfaces: [facts({ mode: "generic" })],
    chosen: undefined,
    reason: /^eth0 has generic XDP/,
  },
  {
    says: "auto leaves an interface with VLANs, a bridge or a bond alone",
    setting: "auto",
    interfaces: [facts({ isLower: true })],
    chosen: undefined,
    reason: /^others are built over eth0/,
  },
  {
    says: "auto wants a queue for each worker",
    ...{ setting: "auto", workers: 5, interfaces: [facts()], chosen: undefined },
    reason: /^eth0 has 4 queues for 5 workers$/,
  },
  {
    says: "auto takes the first that is good",
    setting: "auto",
    interfaces: [facts({ mode: "generic" }), facts({ interfaceName: "eth1" })],
    chosen: "eth1",
    reason: /measured/,
  },
  {
    says: "af_xdp is AF_XDP, whatever speaks against it",
    setting: "af_xdp",
    interfaces: [facts({ mode: "generic", queues: 1 })],
    chosen: "eth0",
    reason: /says so/,
  },
  {
    says: "without XDP there is no AF_XDP",
    ...{ setting: "af_xdp", interfaces: [], chosen: undefined, reason: /^no interface has XDP$/ },
  },
];

for (const { says, setting, workers = 4, interfaces, chosen, reason } of cases) {
  Deno.test(`planDelivery(): ${says}`, () => {
    const plan = planDelivery(setting, workers, interfaces);
    assert.equal(plan.facts?.interfaceName, chosen);
    assert.match(plan.reason, reason);
  });
}

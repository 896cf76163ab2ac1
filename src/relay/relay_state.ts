/** What the relay in the kernel is doing, read from its pinned maps, whoever runs it. */

import { endpoint, formatEndpoint } from "../../ffi/endpoint.ts";
import {
  RelayBackend,
  RelayBackendState,
  relayBackendStateName,
  RelayOutcome,
  relayOutcomeName,
} from "../../ffi/bpf/layout.gen.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { type BpfMap, openPinnedMap } from "../../ffi/bpf/map.ts";

export interface BackendReport {
  /** Which of the relays, in the order of the configuration. */
  readonly relay: number;
  readonly address: string;
  readonly state: string;
  readonly flows: number;
  readonly packetsOut: number;
  readonly bytesOut: number;
  readonly packetsIn: number;
  readonly bytesIn: number;
}

export interface RelayReport {
  readonly backends: readonly BackendReport[];
  /** Packets by what else became of them. */
  readonly counts: Readonly<Record<string, number>>;
}

const FIELDS = 5;

/** From the maps pinned in a folder; undefined where no relay is. */
export function relayReport(libs: Libraries, folder: string): RelayReport | undefined {
  const opened: BpfMap[] = [];
  const open = (name: string): BpfMap | undefined => {
    const map = openPinnedMap(libs, `${folder}/${name}`);
    if (map !== undefined) opened.push(map);
    return map;
  };
  try {
    const [backends, traffic, counts] = ["relay_backends", "relay_traffic", "relay_counts"]
      .map(open);
    if (backends === undefined || traffic === undefined || counts === undefined) return undefined;
    const reports = backendsOf(backends, traffic);
    return reports.length === 0 ? undefined : { backends: reports, counts: countsOf(counts) };
  } finally {
    for (const map of opened) map.close();
  }
}

function backendsOf(backends: BpfMap, traffic: BpfMap): BackendReport[] {
  const sums = traffic.sums();
  const reports: BackendReport[] = [];
  for (let index = 0; index < backends.info.maxEntries; index++) {
    const bytes = backends.get(new Uint8Array(Uint32Array.of(index).buffer));
    if (bytes === undefined) continue;
    const { ip, port, state, service } = RelayBackend.read(new DataView(bytes.buffer));
    if (state === RelayBackendState.none) continue;
    const at = FIELDS * index;
    reports.push({
      relay: service,
      address: formatEndpoint(endpoint(ip, port)),
      state: relayBackendStateName(state),
      packetsOut: sums[at]!,
      bytesOut: sums[at + 1]!,
      packetsIn: sums[at + 2]!,
      bytesIn: sums[at + 3]!,
      flows: sums[at + 4]!,
    });
  }
  return reports;
}

function countsOf(counts: BpfMap): Record<string, number> {
  const sums = counts.sums();
  const outcomes = Array.from({ length: RelayOutcome.count }, (_, outcome) => outcome);
  return Object.fromEntries(
    outcomes.filter((outcome) => sums[2 * outcome]! > 0)
      .map((outcome) => [relayOutcomeName(outcome), sums[2 * outcome]!]),
  );
}

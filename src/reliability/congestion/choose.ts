// Picks the congestion control of one direction of a path.

import { Bbr } from "./bbr.ts";
import { Brutal } from "./brutal.ts";
import type { CongestionController } from "./controller.ts";
import { Cubic } from "./cubic.ts";

export interface CongestionChoice {
  /** What this side says it can send, bytes a second; 0: not stated. */
  readonly sendRate: number;
  /** What the other side says it can take, bytes a second; 0: not stated. */
  readonly takeRate: number;
  /** What runs where not both state a rate. */
  readonly adaptive?: "bbr" | "cubic";
  /** The floor of every window: `arq.window_size`. */
  readonly floorPackets: number;
  /** Bytes of a full packet on the wire. */
  readonly packetBytes: number;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
}

/** Brutal when both sides state a rate, at the lower of the two. */
export function chooseController(choice: CongestionChoice): CongestionController {
  const { sendRate, takeRate, floorPackets, packetBytes } = choice;
  if (sendRate > 0 && takeRate > 0) {
    return new Brutal(Math.min(sendRate, takeRate), floorPackets, packetBytes);
  }
  return choice.adaptive === "cubic"
    ? new Cubic(floorPackets, packetBytes)
    : new Bbr(floorPackets, packetBytes, choice.random);
}

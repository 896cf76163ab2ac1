// Every tunable of loss recovery, congestion control, pacing, path MTU and flow control, each with
// its reason. Times are milliseconds, sizes bytes, rates bytes a second.

import { PACKET_BYTES_BASE } from "../wire/limits.ts";

// ---- round trip and loss (RFC 9002 unless said otherwise)

/** The clock is not trusted below this. */
export const GRANULARITY_MS = 1;

/** What a path is taken for before its first sample: RFC 9002 §6.2.2. */
export const INITIAL_RTT_MS = 333;

/** The smallest round trip is forgotten after one to two of these: a route may have changed. */
export const RTT_MIN_WINDOW_MS = 30_000;

/** Longest a receiver sits on an acknowledgement, and what a sender allows it. */
export const MAX_ACK_DELAY_MS = 25;

/** Acknowledge at every second packet: half the packets back, and still a tight clock. */
export const ACK_EVERY_PACKETS = 2;

/** So many packets sent later on the same path and acknowledged first make a packet lost. */
export const PACKET_THRESHOLD = 3;

/** Where losses prove false the threshold grows up to here; the time threshold backs it up. */
export const PACKET_THRESHOLD_MAX = 64;

/** A packet is lost when it is 9/8 of a round trip older than an acknowledged one. */
export const TIME_THRESHOLD = 9 / 8;

/** Probe packets sent for one probe timeout: the second covers the loss of the first. */
export const PROBES_PER_TIMEOUT = 2;

/** Backoff stops here, so that a dead path is known within seconds and not minutes. */
export const PTO_BACKOFF_MS_MAX = 2000;

/** From so many timeouts in a row on, packets are of the base size: it may be an MTU hole. */
export const PTO_COUNT_SMALL_PACKETS = 2;

/** Losses that span so many probe timeouts, with nothing acknowledged between, reset the path. */
export const PERSISTENT_CONGESTION_PTOS = 3;

/** How long a lost packet is remembered, in probe timeouts, to notice that it was only late. */
export const LOST_MEMORY_PTOS = 3;

// ---- bounds of the state of one session

/** Paths of one session at a time: five carriers, and room to move between addresses. */
export const PATHS_MAX = 8;

/** Slots of the ring of sent packets a new session starts with: idle sessions have to be small. */
export const SENT_SLOTS_MIN = 16;

/** Largest ring: one second at 131 kpps, or 0.4 s at the fastest this product sends. */
export const SENT_SLOTS_MAX = 131_072;

/** Frame records one session may hold: two a packet of the largest window. */
export const RECORDS_PER_SESSION_MAX = 131_072;

/** Frame records of a pool, which all sessions of a worker share: 40 MiB when it is used up. */
export const RECORDS_MAX = 1_048_576;

/** Records that a session gets, whatever others have: two a packet of the first window. */
export const RECORDS_SURE = 64;

/** Share of them that is kept for sessions that have few. */
export const RECORDS_RESERVE_SHARE = 1 / 8;

/** Records a pool starts with. */
export const RECORDS_MIN = 1024;

/** Ranges of received numbers that are kept and acknowledged: about 130 bytes of a frame. */
export const ACK_RANGES_MAX = 64;

/** After so many packets of nothing but ACK one asks for an answer, so that ranges can go. */
export const ACK_ONLY_PACKETS_MAX = 32;

/** Numbers between two that are left out on purpose: an ACK of one of them is a lie. */
export const SKIP_INTERVAL_MIN = 128;
export const SKIP_INTERVAL_MAX = 32_768;

// ---- windows and pacing

/** Cap of every congestion window, in packets: 94 MB of 1452. */
export const WINDOW_PACKETS_MAX = 65_536;

/** What pacing assumes of an unknown path, in packets a round trip: three times RFC 6928's 10. */
export const INITIAL_WINDOW_PACKETS = 32;

/** Round trip assumed by pacing before there is a sample. */
export const PACING_INITIAL_RTT_MS = 100;

/** Below this no algorithm can keep a clock going. */
export const WINDOW_PACKETS_MIN = 4;

/** A worker sleeps at least this long between two batches, or each batch is one packet. */
export const PACING_DELAY_MS_MIN = 1;

/** A burst is at most one GSO batch … */
export const PACING_BURST_PACKETS = 64;

/** … or what the path carries in this time, whichever is less: shallow queues overflow … */
export const PACING_BURST_MS_MAX = 10;

/** … but never less than this: a loop that wakes late has to catch up. */
export const PACING_BURST_MS_MIN = 2;

/** What a worker that woke late could not send is made up for, up to so much time … */
export const PACING_LATE_MS_MAX = 50;

/** … at so many times the rate, not in one burst. */
export const PACING_LATE_GAIN = 2;

/** Smallest burst in packets, for very slow paths. */
export const PACING_BURST_PACKETS_MIN = 2;

// ---- brutal

/** More loss than 20 % is not compensated: the path is too full, not too bad. */
export const BRUTAL_ACK_RATE_MIN = 0.8;
/** Length of the memory of acknowledgements and losses. */
export const BRUTAL_SLOTS = 5;
export const BRUTAL_SLOT_MS = 1000;
/** Fewer packets than this say nothing about a rate. */
export const BRUTAL_SAMPLE_PACKETS_MIN = 50;
/** Window in units of rate × round trip. */
export const BRUTAL_WINDOW_GAIN = 2;
/** Window before the first round trip is known. */
export const BRUTAL_WINDOW_BYTES_MIN = 10_240;
/** A stated rate is the line's: Ethernet, IPv4 and UDP headers of a packet count. */
export const BRUTAL_PACKET_OVERHEAD = 14 + 20 + 8;
/** A stated rate below this is a slip of the pen (512 kbit/s). */
export const BRUTAL_RATE_MIN = 65_536;

// ---- bbr

/** 4 ln 2: the smallest gain that lets the rate double each round trip (BBRv2). */
export const BBR_STARTUP_GAIN = 2.77;
export const BBR_WINDOW_GAIN = 2;
/** One round trip of probing, one of draining what it queued, six of cruising. */
export const BBR_CYCLE_GAINS: readonly number[] = [1.25, 0.75, 1, 1, 1, 1, 1, 1];
/** A probe for more bandwidth ends after so many round trips when nothing else ends it. */
export const BBR_PROBE_ROUNDS_MAX = 3;
/** Rounds the bandwidth maximum is remembered: one cycle and a bit. */
export const BBR_BANDWIDTH_ROUNDS = 10;
/** The pipe is full when three rounds did not bring a quarter more. */
export const BBR_FULL_GROWTH = 1.25;
export const BBR_FULL_ROUNDS = 3;
export const BBR_MIN_RTT_WINDOW_MS = 10_000;
export const BBR_PROBE_RTT_MS = 200;
/** Half the pipe is enough to empty the queue, and costs half as much as four packets. */
export const BBR_PROBE_RTT_GAIN = 0.5;
/** Share of a round that may be lost as noise; more is a queue or a policer that overflows. */
export const BBR_LOSS_TOLERANCE = 0.2;
/** A share of fewer lost packets is chance. */
export const BBR_LOSS_PACKETS_MIN = 8;
/** Loss that no round of a cycle was without is noise, and is made up for, up to this share. */
export const BBR_NOISE_MAX = 0.1;
/** A round of fewer packets says nothing about noise. */
export const BBR_NOISE_PACKETS_MIN = 50;
/** What is left of the bound on inflight after a round of too much loss. */
export const BBR_BETA = 0.85;
/** After so many such rounds in a row the bandwidth itself is taken anew. */
export const BBR_LOSSY_ROUNDS = 2;

// ---- cubic (RFC 9438) with HyStart++ (RFC 9406)

export const CUBIC_C = 0.4;
export const CUBIC_BETA = 0.7;
export const CUBIC_PACING_SLOW_START = 2;
/** A little above 1, so that pacing does not become the bottleneck. */
export const CUBIC_PACING = 1.25;
export const HYSTART_RTT_MS_MIN = 4;
export const HYSTART_RTT_MS_MAX = 16;
export const HYSTART_SAMPLES_MIN = 8;
export const HYSTART_GROWTH_DIVISOR = 4;
export const HYSTART_ROUNDS = 5;

// ---- path MTU (RFC 8899), in bytes of UDP payload

/** What any path has to carry: RFC 9000 §14. A carrier of streams has another. */
export const PMTU_BASE: number = PACKET_BYTES_BASE;
/** Ethernet with IPv6 and UDP headers: 1500 − 40 − 8. */
export const PMTU_MAX_DEFAULT = 1452;
/** The search ends when it could win less than this. */
export const PMTU_STEP_MIN = 16;
/** Losses of one size before it counts as too large. */
export const PMTU_PROBES_MAX = 3;
/** A finished search is taken up again after this, for a larger MTU. */
export const PMTU_RAISE_MS = 600_000;
/** Large packets lost in a row, while small ones arrive, that make a hole. */
export const PMTU_HOLE_LOSSES = 6;

// ---- flow control

/** A new limit is told once so much of the window is used up; if it is lost, the next one comes. */
export const WINDOW_UPDATE_SHARE = 0.25;
/** A window used up in fewer round trips than this was the bottleneck, and doubles. */
export const WINDOW_GROWTH_RTTS = 4;
/** Less credit left than this share of the window: the peer may soon run out of it. */
export const WINDOW_SPENT_SHARE = 0.5;

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * xdp_phantom to the letter, but that what it passes is dropped: for live frames, whose way up the
 * network stack would cost twenty times what is measured.
 */
#include <linux/bpf.h>
#define XDP_PASS XDP_DROP
#include "../../bpf/xdp_phantom.bpf.c"

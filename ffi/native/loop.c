// SPDX-License-Identifier: MIT
/* epoll and eventfd: what a thread waits on, and how another wakes it; and its clock. */
#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "ph.h"

/* Ready descriptors taken in one call; the rest stay ready for the next. */
#define WAIT_MAX 256

uint32_t ph_abi(void)
{
	return PH_ABI;
}

int32_t ph_epoll_create(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int32_t control(int32_t ep, int op, int32_t fd, uint32_t events, uint32_t tag)
{
	struct epoll_event event = { .events = events, .data.u32 = tag };

	return epoll_ctl(ep, op, fd, &event) < 0 ? -errno : 0;
}

int32_t ph_epoll_add(int32_t ep, int32_t fd, uint32_t events, uint32_t tag)
{
	return control(ep, EPOLL_CTL_ADD, fd, events, tag);
}

int32_t ph_epoll_change(int32_t ep, int32_t fd, uint32_t events, uint32_t tag)
{
	return control(ep, EPOLL_CTL_MOD, fd, events, tag);
}

int32_t ph_epoll_remove(int32_t ep, int32_t fd)
{
	return control(ep, EPOLL_CTL_DEL, fd, 0, 0);
}

int32_t ph_epoll_wait(int32_t ep, struct ph_ready *ready, int32_t max, int32_t timeout_ms)
{
	struct epoll_event events[WAIT_MAX];
	int n;

	if (max <= 0)
		return -EINVAL;
	n = epoll_wait(ep, events, max < WAIT_MAX ? max : WAIT_MAX, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	/* Copied, for epoll_event is packed on x86-64 only. */
	for (int i = 0; i < n; i++) {
		ready[i].events = events[i].events;
		ready[i].tag = events[i].data.u32;
	}
	return n;
}

int32_t ph_eventfd_create(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

int32_t ph_eventfd_signal(int32_t fd)
{
	uint64_t one = 1;
	ssize_t n;

	do {
		n = write(fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	/* A counter at its maximum is as signalled as can be. */
	return n < 0 && errno != EAGAIN ? -errno : 0;
}

int32_t ph_eventfd_drain(int32_t fd)
{
	uint64_t count;
	ssize_t n;

	do {
		n = read(fd, &count, sizeof(count));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return 1;
}

int32_t ph_close(int32_t fd)
{
	/* Linux frees the number even on EINTR: a second try could hit another's. */
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static double ms_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

double ph_now_ms(void)
{
	return ms_of(CLOCK_MONOTONIC);
}

double ph_boot_ms(void)
{
	return ms_of(CLOCK_BOOTTIME);
}

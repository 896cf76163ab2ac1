// SPDX-License-Identifier: MIT
/* What this process gives up: its memory's readers, and capabilities that it does not need. */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ph.h"

/* Capabilities are a thread's. Each takes its own away, in a handler of this signal. */
#define SIGNAL_GIVE_UP (SIGRTMAX - 2)
#define WAIT_MS 1000
#define THREADS_MAX 4096

static uint64_t kept;
static atomic_uint answered;
static atomic_int failure;

int32_t ph_hide_memory(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	/* /proc/self is root's from then on, where this process looks for its own descriptors. */
	if (geteuid() == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

static int give_up(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	/* First, while this may still be done. */
	for (int cap = 0; cap < 64; cap++)
		if (!(kept >> cap & 1) && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		uint32_t mask = (uint32_t)(kept >> 32 * i);

		data[i].permitted &= mask;
		data[i].effective &= mask;
		data[i].inheritable &= mask;
	}
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static void on_signal(int number)
{
	int saved = errno;
	int err = give_up();

	(void)number;
	if (err)
		atomic_store(&failure, err);
	atomic_fetch_add(&answered, 1);
	errno = saved;
}

/* Threads of this process that are not in `seen`, added to it; or less than 0. */
static int find_new(pid_t *seen, int *count, pid_t *found)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	int news = 0;

	if (!tasks)
		return -errno;
	while ((entry = readdir(tasks)) && *count < THREADS_MAX) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		bool is_new = tid > 0;

		for (int i = 0; i < *count && is_new; i++)
			is_new = seen[i] != tid;
		if (!is_new)
			continue;
		seen[(*count)++] = tid;
		found[news++] = tid;
	}
	closedir(tasks);
	return news;
}

static bool wait_for(unsigned int answers)
{
	const struct timespec moment = { .tv_nsec = 1000 * 1000 };

	for (int ms = 0; ms < WAIT_MS; ms++) {
		if (atomic_load(&answered) >= answers)
			return true;
		nanosleep(&moment, NULL);
	}
	return false;
}

/* Those that begin meanwhile have it from those that began them, before or after. */
static int give_up_everywhere(pid_t *seen, pid_t *found)
{
	unsigned int asked = 0;
	int count = 0, news;

	while ((news = find_new(seen, &count, found)) > 0) {
		for (int i = 0; i < news; i++)
			if (syscall(SYS_tgkill, getpid(), found[i], SIGNAL_GIVE_UP) == 0)
				asked++;
		if (!wait_for(asked))
			return -ETIMEDOUT;
	}
	return news < 0 ? news : atomic_load(&failure);
}

int32_t ph_keep_capabilities(uint64_t capabilities)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	pid_t *room = calloc(2 * THREADS_MAX, sizeof(*room));
	int err;

	if (!room)
		return -ENOMEM;
	/* Kernels before 5.11 charge BPF maps to it; nobody can raise it later. */
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
	kept = capabilities;
	atomic_store(&answered, 0);
	atomic_store(&failure, 0);
	if (sigaction(SIGNAL_GIVE_UP, &action, &before) < 0)
		err = -errno;
	else
		err = give_up_everywhere(room, room + THREADS_MAX);
	/* A thread that comes to it late must not end the process. */
	if (!err)
		sigaction(SIGNAL_GIVE_UP, &before, NULL);
	free(room);
	return err;
}

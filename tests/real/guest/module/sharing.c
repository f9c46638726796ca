/*
 * What happens to shared tables when processes do what processes do. One scenario per argument; each prints "ok NAME" or "FAILED NAME
 * line: what". Runs in a guest with mshare_pte loaded; needs root and /proc, /sys and /dev.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mshare_pte.h"

#define UNIT MSHARE_PTE_UNIT
#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)

static const char *scenario;

#define CHECK(condition)                                                                              \
	do {                                                                                          \
		if (!(condition)) {                                                                   \
			printf("FAILED %s %d: %s (errno %d)\n", scenario, __LINE__, #condition, errno); \
			fflush(stdout);                                                               \
			_exit(1);                                                                     \
		}                                                                                     \
	} while (0)

static int region_flags(size_t size, unsigned flags)
{
	struct mshare_pte_setup setup = {.size = size, .flags = flags};
	int fd = open("/dev/mshare_pte", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(ioctl(fd, MSHARE_PTE_SETUP, &setup) == 0);
	return fd;
}

static int region(size_t size)
{
	return region_flags(size, 0);
}

static char *map_at(int fd, uintptr_t address, size_t size, size_t offset)
{
	return mmap((void *)address, size, RW, MAP_SHARED | (address ? MAP_FIXED_NOREPLACE : 0), fd, offset);
}

static char *map(int fd, size_t size)
{
	char *start = map_at(fd, 0, size, 0);

	CHECK(start != MAP_FAILED);
	CHECK((uintptr_t)start % UNIT == 0);
	return start;
}

static long count(const char *name)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof path, "/sys/class/misc/mshare_pte/%s", name);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
	close(fd);
	return atol(text);
}

static long field_kib(const char *path, const char *name)
{
	char line[256];
	long value = -1;
	FILE *file = fopen(path, "r");

	CHECK(file);
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)))
			value = atol(line + strlen(name));
	fclose(file);
	return value;
}

static long page_tables_kib(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);

	CHECK(fd >= 0 && write(fd, "1", 1) == 1);
	close(fd);
	return field_kib("/proc/meminfo", "PageTables:");
}

static void touch(char *start, size_t size, size_t step, int value)
{
	for (size_t at = 0; at < size; at += step)
		if (value >= 0)
			start[at] = value;
		else
			(void)*(volatile char *)(start + at);
}

static long minor_faults(void)
{
	struct rusage usage = {0}; /* written here: the kernel fills it after counting, and a fault on a fresh page of the stack came too late */

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* Sharers go when RCU lets them: wait for it, at most some seconds. */
static void settled(void)
{
	for (int i = 0; i < 500 && (count("sharers") || count("tables") || count("pages")); i++)
		usleep(20000);
	CHECK(count("tables") == 0);
	CHECK(count("pages") == 0);
	CHECK(count("sharers") == 0);
	CHECK(count("attaches") == count("detaches"));
}

static void ended_well(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Processes at different addresses see each other's writes, and pages once written by one cost nobody else a fault. */
static void coherence(void)
{
	size_t size = 8 * UNIT;
	int fd = region(size), to_child[2], to_parent[2];
	char byte;
	pid_t pid;

	CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
	pid = fork();
	if (!pid) {
		char *own = map_at(fd, 0x7e0000000000, size, 0);

		CHECK(own != MAP_FAILED);
		CHECK(read(to_child[0], &byte, 1) == 1);
		long before = minor_faults();
		for (size_t at = 0; at < size; at += PAGE)
			CHECK(own[at] == (char)(at / PAGE * 7));
		CHECK(minor_faults() - before == 8); /* one for each 2 MiB */
		own[5 * PAGE] = 99;
		CHECK(write(to_parent[1], "x", 1) == 1);
		_exit(0);
	}
	char *own = map_at(fd, 0x7d0000000000, size, 0);
	CHECK(own != MAP_FAILED);
	for (size_t at = 0; at < size; at += PAGE)
		own[at] = (char)(at / PAGE * 7);
	CHECK(write(to_child[1], "x", 1) == 1 && read(to_parent[0], &byte, 1) == 1);
	CHECK(own[5 * PAGE] == 99);
	ended_well(pid);
}

static void refusals(void)
{
	int fd = region(4 * UNIT), bare = open("/dev/mshare_pte", O_RDWR), reader = open("/dev/mshare_pte", O_RDONLY);
	struct mshare_pte_setup odd = {.size = UNIT + PAGE}, fine = {.size = UNIT};
	char *own, byte;

	CHECK(ioctl(bare, MSHARE_PTE_SETUP, &odd) == -1 && errno == EINVAL);
	CHECK(mmap(NULL, UNIT, RW, MAP_SHARED, bare, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(ioctl(bare, MSHARE_PTE_SETUP, &fine) == 0);
	CHECK(ioctl(bare, MSHARE_PTE_SETUP, &fine) == -1 && errno == EBUSY);
	CHECK(mmap(NULL, UNIT, RW, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, UNIT, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, UNIT, RW, MAP_SHARED, reader, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, UNIT + PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, UNIT, RW, MAP_SHARED, fd, PAGE) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, 2 * UNIT, RW, MAP_SHARED, fd, 3 * UNIT) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap((void *)(0x7d0000000000 + PAGE), UNIT, RW, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED);
	own = map(fd, 4 * UNIT);
	touch(own, 4 * UNIT, PAGE, 1);
	CHECK(mprotect(own, UNIT, PROT_READ) == -1 && errno == EACCES);
	CHECK(munmap(own + PAGE, PAGE) == -1 && errno == EINVAL);
	CHECK(madvise(own, UNIT, MADV_DONTNEED) == -1 && errno == EINVAL);
	CHECK(mremap(own, 4 * UNIT, 5 * UNIT, MREMAP_MAYMOVE) == MAP_FAILED);
	struct iovec here = {&byte, 1}, there = {own, 1};
	CHECK(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == -1 && errno == EFAULT);
	CHECK(own[3 * UNIT + 17 * PAGE] == 1);
}

static void partial_unmap(void)
{
	int fd = region(6 * UNIT);
	char *own = map(fd, 6 * UNIT), *other = map(fd, 6 * UNIT), *over;

	touch(own, 6 * UNIT, PAGE, 3);
	touch(other, 6 * UNIT, PAGE, -1);
	CHECK(munmap(own + 2 * UNIT, UNIT) == 0);
	over = mmap(own + 3 * UNIT, UNIT, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(over == own + 3 * UNIT && over[0] == 0);
	touch(over, UNIT, PAGE, 9);
	for (size_t at = 0; at < 6 * UNIT; at += PAGE)
		CHECK(other[at] == 3);
	CHECK(own[UNIT] == 3 && own[5 * UNIT] == 3);
	CHECK(map_at(fd, (uintptr_t)own + 2 * UNIT, UNIT, 2 * UNIT) == own + 2 * UNIT);
	CHECK(own[2 * UNIT + PAGE] == 3);
	CHECK(munmap(own, 6 * UNIT) == 0);
	CHECK(other[4 * UNIT] == 3);
}

static void moves(void)
{
	int fd = region(2 * UNIT);
	char *own = map_at(fd, 0x7d0000000000, 2 * UNIT, 0), *moved;

	touch(own, 2 * UNIT, PAGE, 4);
	moved = mremap(own, 2 * UNIT, 2 * UNIT, MREMAP_MAYMOVE | MREMAP_FIXED, 0x7d1000000000);
	CHECK(moved == (char *)0x7d1000000000);
	for (size_t at = 0; at < 2 * UNIT; at += PAGE)
		CHECK(moved[at] == 4);
	CHECK(mremap(moved, 2 * UNIT, 2 * UNIT, MREMAP_MAYMOVE | MREMAP_FIXED, 0x7d2000001000) == MAP_FAILED);
	CHECK(moved[UNIT] == 4); /* where it was */
	moved = mremap(moved, 2 * UNIT, UNIT, 0);
	CHECK(moved != MAP_FAILED && moved[PAGE] == 4);
}

static void tree(char *own, size_t size, int depth)
{
	pid_t left, right;

	CHECK(own[depth * PAGE] == 7);
	left = depth ? fork() : 1;
	if (!left) {
		tree(own, size, depth - 1);
		_exit(0);
	}
	right = depth ? fork() : 1;
	if (!right) {
		CHECK(munmap(own, UNIT) == 0 && own[UNIT] == 7);
		_exit(0);
	}
	if (depth) {
		ended_well(left);
		ended_well(right);
	}
}

/* A child inherits the mapping, no table, and attaches by itself. */
static void fork_tree(void)
{
	int fd = region(4 * UNIT);
	char *own = map(fd, 4 * UNIT);
	pid_t pid;

	touch(own, 4 * UNIT, PAGE, 7);
	pid = fork();
	if (!pid) {
		long before = minor_faults(), attached = count("attaches");
		char *fresh = map(fd, 4 * UNIT);

		touch(own, 4 * UNIT, PAGE, -1);
		CHECK(count("attaches") - attached == 4);
		before = minor_faults();
		touch(fresh, 4 * UNIT, PAGE, -1);
		CHECK(minor_faults() - before == 4);
		_exit(0);
	}
	ended_well(pid);
	pid = fork();
	if (!pid) {
		tree(own, 4 * UNIT, 4);
		_exit(0);
	}
	ended_well(pid);
	CHECK(own[3 * UNIT] == 7);
}

static void execs(void)
{
	int fd = region(2 * UNIT);
	char *own = map(fd, 2 * UNIT);

	touch(own, 2 * UNIT, PAGE, 5);
	for (int i = 0; i < 20; i++) {
		pid_t pid = i % 2 ? fork() : vfork();

		if (!pid) {
			if (i % 2)
				touch(own, 2 * UNIT, PAGE, -1);
			execl("/proc/self/exe", "sharing", "nothing", NULL);
			_exit(9);
		}
		ended_well(pid);
	}
	CHECK(own[UNIT] == 5);
}

static void kills(void)
{
	int fd = region(8 * UNIT);
	char *own = map(fd, 8 * UNIT);
	pid_t pids[12];

	touch(own, 8 * UNIT, PAGE, 6);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 12; i++) {
			pids[i] = fork();
			if (!pids[i])
				for (;;) {
					touch(own, 8 * UNIT, PAGE, -1);
					if (i % 3 == 0) {
						CHECK(munmap(own + UNIT * (i % 8), UNIT) == 0);
						CHECK(map_at(fd, (uintptr_t)own + UNIT * (i % 8), UNIT, UNIT * (i % 8)) != MAP_FAILED);
					}
				}
		}
		usleep(100000);
		for (int i = 0; i < 12; i++) {
			int victim = (i * 7 + round) % 12;

			kill(pids[victim], SIGKILL);
			CHECK(waitpid(pids[victim], NULL, 0) == pids[victim]);
		}
	}
	for (size_t at = 0; at < 8 * UNIT; at += PAGE)
		CHECK(own[at] == 6);
}

/* What others look at a process with. */
static void observers(void)
{
	static const char *files[] = {"smaps", "smaps_rollup", "pagemap", "numa_maps", "maps", "status"};
	int fd = region(2 * UNIT), seen = 0;
	char *own = map(fd, 2 * UNIT), path[64], text[65536];

	touch(own, 2 * UNIT, PAGE, 8);
	for (int command = 1; command <= 5; command++) {
		int refs = open("/proc/self/clear_refs", O_WRONLY);

		snprintf(text, sizeof text, "%d", command);
		CHECK(refs >= 0);
		(void)!write(refs, text, 1); /* 4 needs soft-dirty bits, which a kernel may lack */
		close(refs);
		CHECK(own[UNIT] == 8);
		own[UNIT + PAGE] = 8;
	}
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "/proc/self/%s", files[i]);
		int file = open(path, O_RDONLY);

		if (file < 0)
			continue;
		if (!strcmp(files[i], "pagemap"))
			CHECK(pread(file, text, 8 * 1024, (uintptr_t)own / PAGE * 8) > 0);
		else
			while (read(file, text, sizeof text) > 0)
				;
		close(file);
		seen++;
	}
	CHECK(seen >= 4);
	for (size_t at = 0; at < 2 * UNIT; at += PAGE)
		CHECK(own[at] == 8);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void signal_storm(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	int fd = region(4 * UNIT);
	char *first = map(fd, 4 * UNIT);

	touch(first, 4 * UNIT, PAGE, 2);
	sigaction(SIGALRM, &action, NULL);
	for (int round = 0; round < 30; round++) {
		pid_t pid = fork();

		if (!pid) {
			setitimer(ITIMER_REAL, &often, NULL);
			for (int i = 0; i < 10; i++) {
				char *own = map(fd, 4 * UNIT);

				for (size_t at = 0; at < 4 * UNIT; at += 64 * PAGE)
					CHECK(own[at] == 2 && first[at] == 2);
				CHECK(munmap(own, 4 * UNIT) == 0);
			}
			setitimer(ITIMER_REAL, &never, NULL);
			_exit(0);
		}
		ended_well(pid);
	}
}

/* A process that had it mapped, and goes on without: the module can be unloaded. */
static void former(void)
{
	int fd = region(2 * UNIT);
	char *own = map(fd, 2 * UNIT);

	touch(own, 2 * UNIT, PAGE, 1);
	CHECK(munmap(own, 2 * UNIT) == 0);
	close(fd);
	for (int i = 0; i < 200; i++) {
		char *more = mmap(NULL, UNIT, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(more != MAP_FAILED);
		touch(more, UNIT, PAGE, 1);
		CHECK(munmap(more, UNIT) == 0);
		usleep(20000);
	}
	printf("ok former\n");
	_exit(0);
}

struct crowd {
	int fd;
	char *own;
	unsigned seed;
	volatile int *stop;
};

static void *toucher(void *argument)
{
	struct crowd *crowd = argument;

	while (!*crowd->stop) {
		size_t at = rand_r(&crowd->seed) % (8 * UNIT / PAGE) * PAGE;

		CHECK(crowd->own[at] == 11);
	}
	return NULL;
}

static void *remapper(void *argument)
{
	struct crowd *crowd = argument;

	while (!*crowd->stop) {
		char *more = map(crowd->fd, 8 * UNIT);
		size_t at = rand_r(&crowd->seed) % 8 * UNIT;

		CHECK(more[at] == 11);
		/* Parts one by one: what another thread maps into a hole of ours is its own. */
		CHECK(munmap(more + at, UNIT) == 0);
		CHECK(at == 0 || munmap(more, at) == 0);
		CHECK(at == 7 * UNIT || munmap(more + at + UNIT, 7 * UNIT - at) == 0);
	}
	return NULL;
}

static void *opener(void *argument)
{
	struct crowd *crowd = argument;

	while (!*crowd->stop) {
		int fd = region(2 * UNIT);
		char *own = map(fd, 2 * UNIT);

		close(fd);
		touch(own, 2 * UNIT, 16 * PAGE, 1);
		CHECK(munmap(own, 2 * UNIT) == 0);
	}
	return NULL;
}

static void *cleaner(void *argument)
{
	struct crowd *crowd = argument;

	while (!*crowd->stop) {
		int refs = open("/proc/self/clear_refs", O_WRONLY);

		(void)!write(refs, rand_r(&crowd->seed) % 2 ? "4" : "1", 1);
		close(refs);
		usleep(1000);
	}
	return NULL;
}

static void crowd_of_threads(int fd, int seconds, unsigned seed)
{
	static void *(*const roles[])(void *) = {toucher, toucher, remapper, remapper, opener, cleaner};
	volatile int stop = 0;
	char *own = map(fd, 8 * UNIT);
	pthread_t threads[6];
	struct crowd crowds[6];

	for (int i = 0; i < 6; i++) {
		crowds[i] = (struct crowd){fd, own, seed + i, &stop};
		CHECK(pthread_create(&threads[i], NULL, roles[i], &crowds[i]) == 0);
	}
	for (time_t end = time(NULL) + seconds; time(NULL) < end;) {
		pid_t pid = fork();

		if (!pid) {
			for (size_t at = 0; at < 8 * UNIT; at += 32 * PAGE)
				CHECK(own[at] == 11);
			if (rand_r(&seed) % 2)
				execl("/proc/self/exe", "sharing", "nothing", NULL);
			_exit(0);
		}
		if (rand_r(&seed) % 3 == 0)
			kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	stop = 1;
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
}

static void threads(void)
{
	int fd = region(8 * UNIT);

	touch(map(fd, 8 * UNIT), 8 * UNIT, PAGE, 11);
	crowd_of_threads(fd, 3, 1);
}

static void stress(int seconds)
{
	int fd = region(8 * UNIT);
	pid_t pids[12];

	touch(map(fd, 8 * UNIT), 8 * UNIT, PAGE, 11);
	for (int i = 0; i < 12; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			crowd_of_threads(fd, seconds, 100 * i + 1);
			_exit(0);
		}
	}
	for (int i = 0; i < 12; i++)
		ended_well(pids[i]);
}

/* KiB of PageTables that N processes cost which read SIZE MiB each, and what a process's faults were. */
static void cost(unsigned flags, int processes, size_t size)
{
	int fd = region_flags(size, flags), ready[2], go[2];
	long before, after, faults = -1, one = 0;
	char byte;

	CHECK(pipe(ready) == 0 && pipe(go) == 0);
	touch(map(fd, size), size, PAGE, 1);
	sync();
	before = page_tables_kib();
	for (int i = 0; i < processes; i++)
		if (!fork()) {
			close(go[1]); /* the others' end is the parent's alone: closing it lets all go */
			char *own = map_at(fd, 0x7000000000 + (uintptr_t)(i + 1) * (512UL << 30), size, 0);

			CHECK(own != MAP_FAILED);
			long start = minor_faults();
			touch(own, size, PAGE, -1);
			one = minor_faults() - start;
			CHECK(write(ready[1], &one, sizeof one) == sizeof one);
			(void)!read(go[0], &byte, 1);
			_exit(0);
		}
	for (int i = 0; i < processes; i++) {
		CHECK(read(ready[0], &one, sizeof one) == sizeof one);
		CHECK(faults == -1 || faults == one);
		faults = one;
	}
	after = page_tables_kib();
	printf("cost %s %d x %zu MiB: PageTables +%ld KiB, %ld faults each\n", flags ? "private" : "shared", processes, size >> 20,
	       after - before, faults);
	close(go[0]);
	close(go[1]);
	while (wait(NULL) > 0)
		;
}

int main(int count_of_arguments, char **arguments)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = {
		{"coherence", coherence}, {"refusals", refusals}, {"partial_unmap", partial_unmap}, {"moves", moves},
		{"fork_tree", fork_tree}, {"execs", execs},	  {"kills", kills},		    {"observers", observers},
		{"signal_storm", signal_storm}, {"threads", threads},
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < count_of_arguments; i++) {
		pid_t pid;
		int status;

		if (!strcmp(arguments[i], "nothing"))
			return 0;
		scenario = arguments[i];
		pid = fork();
		if (!pid) {
			int found = 0;

			if (!strcmp(arguments[i], "former"))
				former();
			if (!strncmp(arguments[i], "stress=", 7)) {
				stress(atoi(arguments[i] + 7));
				_exit(0);
			}
			if (!strncmp(arguments[i], "cost=", 5)) { /* cost=FLAGS,PROCESSES,MIB */
				unsigned flags, processes, mib;

				CHECK(sscanf(arguments[i] + 5, "%u,%u,%u", &flags, &processes, &mib) == 3);
				cost(flags, processes, (size_t)mib << 20);
				_exit(0);
			}
			for (size_t j = 0; j < sizeof all / sizeof *all; j++)
				if (!strcmp(all[j].name, arguments[i])) {
					all[j].run();
					found = 1;
				}
			CHECK(found);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (!strcmp(arguments[i], "former"))
			continue; /* by now there is nothing left to ask */
		if (!status)
			settled();
		printf("%s %s\n", status ? "FAILED" : "ok", arguments[i]);
	}
	return 0;
}

/* The bare loop that benchmarks/agent_touch.py holds the agent against: map, touch every page, unmap; once per line. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* agent_touch <fd> <address> <pages> <write>: prints the nanoseconds of a cold and of a warm pass for each input line */
int main(int argc, char **argv)
{
	int fd = atoi(argv[1]), write = atoi(argv[4]);
	void *address = (void *)strtoull(argv[2], 0, 10);
	size_t pages = strtoull(argv[3], 0, 10);

	(void)argc;
	while (getchar() != EOF) {
		volatile unsigned char *base = mmap(address, pages * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
		long long times[3];

		times[0] = now();
		for (int pass = 0; pass < 2; pass++) {
			if (write)
				for (size_t i = 0; i < pages; i++)
					base[i * 4096] = 1;
			else
				for (size_t i = 0; i < pages; i++)
					(void)base[i * 4096];
			times[pass + 1] = now();
		}
		munmap(address, pages * 4096);
		printf("%lld %lld\n", times[1] - times[0], times[2] - times[1]);
		fflush(stdout);
	}
	return 0;
}

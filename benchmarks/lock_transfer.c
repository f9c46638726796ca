// Two threads on two CPUs take turns on one cache line: nanoseconds per transfer, of the round that was disturbed least.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 51, TURNS = 20000 };

static _Alignas(64) atomic_uint turn;
static int cpus[2];

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void play(unsigned me) {
    for (unsigned i = 0; i < TURNS; i++) {
        while (atomic_load_explicit(&turn, memory_order_acquire) % 2 != me) {}
        atomic_fetch_add_explicit(&turn, 1, memory_order_acq_rel);
    }
}

static void *other(void *unused) {
    (void)unused;
    pin(cpus[1]);
    for (int round = 0; round < ROUNDS; round++) play(1);
    return NULL;
}

static int less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    cpus[0] = atoi(argv[1]);
    cpus[1] = atoi(argv[2]);
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    pin(cpus[0]);
    double times[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        play(0);
        clock_gettime(CLOCK_MONOTONIC, &to);
        times[round] = ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / (2.0 * TURNS);
    }
    pthread_join(thread, NULL);
    qsort(times, ROUNDS, sizeof *times, less);
    printf("%.2f\n", times[0]);
    return 0;
}

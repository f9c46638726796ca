/*
 * A tree of processes that do memory operations one at a time, as they are told over a socket each, and say what came of
 * them: errno, minor faults of the touch, VmPTE, the bytes read.
 *
 * usage: kernel_driver FIRST_FD CHANNEL     FIRST_FD + n is the socket (SOCK_SEQPACKET) of process n
 *
 * Between the two readings of ru_minflt nothing but the touch may fault: every page that this program itself needs is touched
 * before (after a fork its data is copy-on-write again, its text is not mapped yet), and no library runs in between.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TOUCH = 1, MAP, UNMAP, PROTECT, ADVISE, FORK, EXEC, EXIT, SHMAT, STATUS };

struct command {
	uint64_t kind, address, length, step, prot, flags, offset, value;
	int64_t fd;
};

struct answer {
	int64_t error;
	int64_t signal;
	int64_t faults;
	int64_t vm_pte_kib;
	int64_t pid;
	uint64_t count;
	uint8_t bytes[8192];
};

static struct {
	struct command command;
	struct rusage before, after;
	struct answer answer;
	char status[4096];
} data __attribute__((aligned(4096)));

static uint8_t signal_stack[1 << 16] __attribute__((aligned(4096)));
static int first_fd, channel;

static void reply(void)
{
	size_t size = offsetof(struct answer, bytes) + data.answer.count;

	data.answer.pid = getpid();
	if (send(first_fd + channel, &data.answer, size, MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void on_signal(int number)
{
	data.answer.signal = number;
	data.answer.count = 0;
	reply();
	_exit(0);
}

static __attribute__((noinline)) void touch(const struct command *command)
{
	volatile uint8_t *at = (volatile uint8_t *)command->address;
	uint64_t count = 0;

	syscall(SYS_getrusage, RUSAGE_SELF, &data.before);
	for (uint64_t offset = 0; offset < command->length; offset += command->step) {
		if (command->flags)
			at[offset] = (uint8_t)command->value;
		else
			data.answer.bytes[count++] = at[offset];
	}
	syscall(SYS_getrusage, RUSAGE_SELF, &data.after);
	data.answer.count = count;
	data.answer.faults = data.after.ru_minflt - data.before.ru_minflt;
}

static int64_t vm_pte_kib(void)
{
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, data.status, sizeof data.status - 1);
	char *line;

	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return -1;
	data.status[got] = 0;
	line = strstr(data.status, "VmPTE:");
	return line ? atol(line + 6) : -1;
}

/* Touch all that this program will touch, so that VmPTE has its base and a touch counts only its own faults. */
static void warm(void)
{
	struct command nothing = { .step = 4096, .flags = 0 };

	memset(signal_stack, 0, sizeof signal_stack);
	memset(&data.answer, 0, sizeof data.answer);
	memset(&data.before, 0, sizeof data.before);
	memset(&data.after, 0, sizeof data.after);
	for (int again = 0; again < 2; again++) {
		touch(&nothing);
		nothing.flags = 1;
	}
	data.answer.vm_pte_kib = vm_pte_kib();
	data.answer.error = 0;
	data.answer.signal = 0;
	data.answer.count = 0;
}

static int64_t run(const struct command *c)
{
	void *address = (void *)c->address;

	switch (c->kind) {
	case MAP:
		return mmap(address, c->length, c->prot, c->flags, c->fd, c->offset) == MAP_FAILED ? errno : 0;
	case SHMAT:
		return shmat(c->fd, address, c->flags) == (void *)-1 ? errno : 0;
	case UNMAP:
		return munmap(address, c->length) ? errno : 0;
	case PROTECT:
		return mprotect(address, c->length, c->prot) ? errno : 0;
	case ADVISE:
		return madvise(address, c->length, c->flags) ? errno : 0;
	case TOUCH:
		touch(c);
		return 0;
	}
	return c->kind == STATUS ? 0 : EINVAL;
}

static void handlers(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof signal_stack };

	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	signal(SIGCHLD, SIG_IGN);
}

int main(int argc, char **argv)
{
	char number[2][12];

	if (argc != 3)
		return 2;
	/* The same layout after every exec, so that the base of VmPTE is the same too. */
	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
		personality(personality(0xffffffff) | ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", argv);
		return 3;
	}
	first_fd = atoi(argv[1]);
	channel = atoi(argv[2]);
	handlers();
	for (;;) {
		warm();
		if (recv(first_fd + channel, &data.command, sizeof data.command, 0) != sizeof data.command)
			return 0;
		if (data.command.kind == EXIT) {
			reply();
			return 0;
		}
		if (data.command.kind == EXEC) {
			for (int i = 0; i < 2; i++) {
				int value = i ? channel : first_fd, at = 11;

				number[i][at] = 0;
				do
					number[i][--at] = '0' + value % 10;
				while (value /= 10);
				argv[1 + i] = number[i] + at;
			}
			execv("/proc/self/exe", argv);
			return 3;
		}
		if (data.command.kind == FORK) {
			pid_t pid = fork();

			if (pid == 0) {
				channel = data.command.value;
				handlers();
				alarm(120);
				warm();
			} else {
				data.answer.error = pid < 0 ? errno : 0;
			}
			/* The child says that it is there, the parent that it forked. */
			data.answer.vm_pte_kib = vm_pte_kib();
			reply();
			continue;
		}
		data.answer.error = run(&data.command);
		data.answer.vm_pte_kib = vm_pte_kib();
		reply();
	}
}

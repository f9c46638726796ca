/* The few things that C can't say: the first instruction, clone on a new stack, loads that may fault, and sigreturn. */
#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/ucontext.h>

#include "sys.h"

void start_c(long *stack);

extern const u8 probe_load_insn[], probe_store_insn[], probe_failed[];
void return_from_signal(void);

#if defined(__x86_64__)

#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.rip)
#define RETURN_VALUE(context) ((context)->uc_mcontext.rax)

__asm__(".text\n"
	".globl _start\n.type _start,@function\n"
	"_start:\n"
	"	xorl %ebp, %ebp\n"
	"	movq %rsp, %rdi\n"
	"	andq $-16, %rsp\n"
	"	call start_c\n"
	"	hlt\n"
	".globl clone_on_stack\n.type clone_on_stack,@function\n"
	"clone_on_stack:\n" /* rdi flags, rsi stack, rdx ctid, rcx body, r8 argument */
	"	pushq %r12\n" /* what the kernel keeps for the child, since it clobbers only rax, rcx, r11 */
	"	movq %rcx, %r9\n"
	"	movq %rdx, %r10\n"
	"	movq %r8, %r12\n"
	"	xorl %edx, %edx\n"
	"	xorl %r8d, %r8d\n"
	"	movl $56, %eax\n"
	"	syscall\n"
	"	testq %rax, %rax\n"
	"	jz 1f\n"
	"	popq %r12\n"
	"	ret\n"
	"1:	xorl %ebp, %ebp\n"
	"	movq %r12, %rdi\n"
	"	call *%r9\n"
	"	hlt\n"
	".globl probe_load\n.type probe_load,@function\n"
	"probe_load:\n"
	"probe_load_insn:\n"
	"	movzbl (%rdi), %eax\n"
	"	movb %al, (%rsi)\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	".globl probe_store\n.type probe_store,@function\n"
	"probe_store:\n"
	"probe_store_insn:\n"
	"	movb %sil, (%rdi)\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"probe_failed:\n"
	"	ret\n"
	".globl return_from_signal\n"
	"return_from_signal:\n"
	"	movl $15, %eax\n"
	"	syscall\n");

#else

#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.pc)
#define RETURN_VALUE(context) ((context)->uc_mcontext.regs[0])

__asm__(".text\n"
	".globl _start\n.type _start,%function\n"
	"_start:\n"
	"	mov x29, #0\n"
	"	mov x30, #0\n"
	"	mov x0, sp\n"
	"	and sp, x0, #-16\n"
	"	bl start_c\n"
	"	brk #1\n"
	".globl clone_on_stack\n.type clone_on_stack,%function\n"
	"clone_on_stack:\n" /* x0 flags, x1 stack, x2 ctid, x3 body, x4 argument */
	"	mov x9, x3\n"
	"	mov x10, x4\n"
	"	mov x4, x2\n"
	"	mov x2, #0\n"
	"	mov x3, #0\n"
	"	mov x8, #220\n"
	"	svc #0\n"
	"	cbz x0, 1f\n"
	"	ret\n"
	"1:	mov x29, #0\n"
	"	mov x0, x10\n"
	"	blr x9\n"
	"	brk #1\n"
	".globl probe_load\n.type probe_load,%function\n"
	"probe_load:\n"
	"probe_load_insn:\n"
	"	ldrb w2, [x0]\n"
	"	strb w2, [x1]\n"
	"	mov w0, #0\n"
	"	ret\n"
	".globl probe_store\n.type probe_store,%function\n"
	"probe_store:\n"
	"probe_store_insn:\n"
	"	strb w1, [x0]\n"
	"	mov w0, #0\n"
	"	ret\n"
	"probe_failed:\n"
	"	ret\n"
	".globl return_from_signal\n"
	"return_from_signal:\n"
	"	mov x8, #139\n"
	"	svc #0\n");

#endif

/* struct sigaction as the kernel reads it, alike on both architectures. */
struct kernel_action {
	void (*handler)(int, void *, void *);
	unsigned long flags;
	void (*restorer)(void);
	u64 mask;
};

static void on_fault(int signal, void *info, void *raw)
{
	struct ucontext *context = raw;
	u64 at = PROGRAM_COUNTER(context);
	struct kernel_action plain = { 0, 0, 0, 0 };

	(void)info;
	if (at == (u64)probe_load_insn || at == (u64)probe_store_insn) {
		RETURN_VALUE(context) = (u64)signal;
		PROGRAM_COUNTER(context) = (u64)probe_failed;
		return;
	}
	/* Not ours: die of it as any process would, as soon as the handler returns and the signal is unblocked. */
	call4(__NR_rt_sigaction, signal, &plain, 0, sizeof(u64));
	call2(__NR_kill, own_pid(), signal);
}

long catch_faults(void)
{
	struct kernel_action action = { on_fault, SA_SIGINFO | SA_RESTORER, return_from_signal, 0 };
	long failed = call4(__NR_rt_sigaction, SIG_SEGV, &action, 0, sizeof(u64));

	return failed ? failed : call4(__NR_rt_sigaction, SIG_BUS, &action, 0, sizeof(u64));
}

/* Compilers may call these two even from freestanding code; volatile keeps them from calling themselves. */
void *memset(void *to, int value, unsigned long bytes)
{
	volatile u8 *p = to;

	while (bytes--)
		*p++ = (u8)value;
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, unsigned long bytes)
{
	volatile u8 *p = to;
	const u8 *q = from;

	while (bytes--)
		*p++ = *q++;
	return to;
}

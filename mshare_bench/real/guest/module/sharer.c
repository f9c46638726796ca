// SPDX-License-Identifier: GPL-2.0
/*
 * Attaching tables to an address space, and taking them away before the kernel walks or frees what it believes to be its own.
 *
 * A table of a region hangs in the page tables of processes that did not allocate it. The kernel must never meet it when it zaps,
 * moves or frees page tables: each of these paths calls the MMU notifiers first, and the notifier here clears the PMD entries that
 * lead to our tables. That is an implementation detail of the kernel and the reason for the list of versions in device.c.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <asm/pgalloc.h>
#include <asm/tlbflush.h>

#include "internal.h"

static struct sharer *of_notifier(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct sharer, notifier);
}

static void flush_here(void *unused)
{
	__flush_tlb_all();
}

/*
 * Flush an address space everywhere. The kernel's own function is not exported: CPUs that run it are interrupted, and those that
 * hold it under an old PCID see by the generation that it is stale when they switch to it.
 */
static void flush_mm(struct mm_struct *mm)
{
	atomic64_inc(&mm->context.tlb_gen);
	on_each_cpu_mask(mm_cpumask(mm), flush_here, NULL, 1);
}

/*
 * The PMD entry of an address that we attached a table to. Its upper tables can't go away: the mapping is still there, and whoever
 * removes it waits for this notifier.
 */
static pmd_t *attached_pmd(struct mm_struct *mm, unsigned long address)
{
	return pmd_offset(pud_offset(p4d_offset(pgd_offset(mm, address), address), address), address);
}

static void detach(struct sharer *sharer, struct mm_struct *mm, unsigned long start, unsigned long last)
{
	unsigned long unit, detached = 0;
	spinlock_t *lock;
	pmd_t *pmd;
	void *table;

	if (!detach_enabled)
		return;
	xa_for_each_range(&sharer->attached, unit, table, start >> PMD_SHIFT, last >> PMD_SHIFT) {
		pmd = attached_pmd(mm, unit << PMD_SHIFT);
		lock = pmd_lock(mm, pmd);
		/* Somebody else may detach the same at the same time: who erases the record counts it. */
		if (xa_erase(&sharer->attached, unit)) {
			WARN_ON_ONCE(pmd_page(*pmd) != table);
			pmd_clear(pmd);
			detached++;
		}
		spin_unlock(lock);
	}
	if (detached) {
		flush_mm(mm);
		atomic64_add(detached, &counts.detaches);
	}
}

/* munmap, MAP_FIXED over a mapping, mremap, clear_refs: before they look at the tables of the range. */
static int range_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	if (range->end > range->start)
		detach(of_notifier(notifier), range->mm, range->start, range->end - 1);
	return 0;
}

/* exit, kill and exec: before the tables of the whole address space are freed. */
static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	detach(of_notifier(notifier), mm, 0, ULONG_MAX);
}

static struct mmu_notifier *alloc_notifier(struct mm_struct *mm)
{
	struct sharer *sharer = kzalloc(sizeof(*sharer), GFP_KERNEL);

	if (!sharer)
		return ERR_PTR(-ENOMEM);
	xa_init(&sharer->attached);
	atomic64_inc(&counts.sharers);
	return &sharer->notifier;
}

static void free_notifier(struct mmu_notifier *notifier)
{
	struct sharer *sharer = of_notifier(notifier);

	xa_destroy(&sharer->attached);
	kfree(sharer);
	atomic64_dec(&counts.sharers);
}

static const struct mmu_notifier_ops notifier_ops = {
	.release = release,
	.invalidate_range_start = range_start,
	.alloc_notifier = alloc_notifier,
	.free_notifier = free_notifier,
};

/*
 * The sharer of an address space, made if need be; counted for one mapping, which sharer_drop() gives back. Under the write lock of
 * mm. A pending signal ends it with -EINTR, since all locks of the address space are taken meanwhile.
 */
struct sharer *sharer_of(struct mm_struct *mm)
{
	struct mmu_notifier *notifier = mmu_notifier_get_locked(&notifier_ops, mm);
	struct sharer *sharer;

	if (IS_ERR(notifier))
		return ERR_CAST(notifier);
	sharer = of_notifier(notifier);
	/* One reference for all mappings together: the first keeps it, a later one gives its own back at once. */
	if (atomic_inc_return(&sharer->vmas) > 1)
		mmu_notifier_put(notifier);
	return sharer;
}

void sharer_hold(struct sharer *sharer)
{
	atomic_inc(&sharer->vmas);
}

void sharer_drop(struct sharer *sharer)
{
	if (atomic_dec_and_test(&sharer->vmas))
		mmu_notifier_put(&sharer->notifier);
}

/* Hang the table of a slot into the address space that faults. The mapping covers the whole slot. */
vm_fault_t sharer_attach(struct sharer *sharer, struct vm_fault *fault, struct slot *slot)
{
	struct mm_struct *mm = fault->vma->vm_mm;
	unsigned long unit = fault->address >> PMD_SHIFT;
	vm_fault_t result = VM_FAULT_NOPAGE;
	spinlock_t *lock;

	/* Room for the record first: nothing can be allocated under the lock. */
	if (xa_reserve(&sharer->attached, unit, GFP_KERNEL))
		return VM_FAULT_OOM;
	lock = pmd_lock(mm, fault->pmd);
	if (pmd_none(*fault->pmd)) {
		if (xa_err(xa_store(&sharer->attached, unit, slot->table, 0))) {
			result = VM_FAULT_OOM;
		} else {
			/* The entries may have been written by another process: they are seen before the table is. */
			smp_wmb();
			/* No mm_inc_nr_ptes(): the table is the region's, not this address space's. */
			pmd_populate(mm, fault->pmd, slot->table);
			atomic64_inc(&counts.attaches);
		}
	}
	spin_unlock(lock);
	return result;
}

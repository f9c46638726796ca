/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MSHARE_PTE_INTERNAL_H
#define MSHARE_PTE_INTERNAL_H

#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "mshare_pte.h"

/* 2 MiB of a region: its pages and, where tables are shared, the PTE page that maps them for all. */
struct slot {
	struct page **pages; /* PTRS_PER_PTE of them; NULL until first touched */
	struct page *table;
};

struct region {
	struct mutex lock; /* over SETUP and the filling of slots */
	size_t slots;
	size_t filled;
	bool private_tables;
	struct slot *slot;
};

/* An address space that has shared tables attached, or may have: what the MMU notifier hangs on. */
struct sharer {
	struct mmu_notifier notifier;
	atomic_t vmas;	       /* mappings of ours that point here; the last one gives the notifier back */
	struct xarray attached; /* by address / 2 MiB: which PMD entries hold a table of ours */
};

/* What has happened since the module was loaded: once nothing is mapped any more, attaches and detaches are equal. */
struct counts {
	atomic64_t attaches;
	atomic64_t detaches;
	atomic64_t tables; /* PTE pages of regions that exist now */
	atomic64_t pages;  /* data pages of regions that exist now */
	atomic64_t sharers; /* address spaces watched now */
};

extern struct counts counts;
extern bool detach_enabled; /* off: the control that shows that the tests can fail */

struct region *region_new(void);
int region_setup(struct region *region, const struct mshare_pte_setup *setup);
struct slot *region_fill(struct region *region, size_t index);
void region_free(struct region *region);

struct sharer *sharer_of(struct mm_struct *mm);
void sharer_hold(struct sharer *sharer);
void sharer_drop(struct sharer *sharer);
vm_fault_t sharer_attach(struct sharer *sharer, struct vm_fault *fault, struct slot *slot);

#endif

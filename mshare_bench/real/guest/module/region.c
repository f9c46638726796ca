// SPDX-License-Identifier: GPL-2.0
/* A region: pages, and for every 2 MiB of them one PTE page that maps them in whoever attaches it. */
#include <linux/gfp.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "internal.h"

/* The constructor counts the page in PageTables, once, and makes the lock that page-table walkers take. */
static bool table_construct(struct page *page)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	return pgtable_pte_page_ctor(page);
#else
	return pagetable_pte_ctor(page_ptdesc(page));
#endif
}

static void table_destruct(struct page *page)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	pgtable_pte_page_dtor(page);
#else
	pagetable_pte_dtor(page_ptdesc(page));
#endif
}

struct region *region_new(void)
{
	struct region *region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);

	if (region)
		mutex_init(&region->lock);
	return region;
}

int region_setup(struct region *region, const struct mshare_pte_setup *setup)
{
	size_t slots = setup->size / MSHARE_PTE_UNIT;
	int error = 0;

	if (!slots || setup->size % MSHARE_PTE_UNIT || setup->pad || setup->flags & ~MSHARE_PTE_PRIVATE_TABLES)
		return -EINVAL;
	mutex_lock(&region->lock);
	if (region->slots) {
		error = -EBUSY;
	} else {
		region->slot = kvcalloc(slots, sizeof(*region->slot), GFP_KERNEL_ACCOUNT);
		if (region->slot) {
			region->private_tables = setup->flags & MSHARE_PTE_PRIVATE_TABLES;
			/* mmap reads this without the lock: what it stands for comes first. */
			smp_store_release(&region->slots, slots);
		} else {
			error = -ENOMEM;
		}
	}
	mutex_unlock(&region->lock);
	return error;
}

static void pages_free(struct page **pages)
{
	int i;

	for (i = 0; i < PTRS_PER_PTE && pages[i]; i++) {
		__free_page(pages[i]);
		atomic64_dec(&counts.pages);
	}
	kfree(pages);
}

static struct page **pages_new(void)
{
	struct page **pages = kcalloc(PTRS_PER_PTE, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	int i;

	for (i = 0; pages && i < PTRS_PER_PTE; i++) {
		pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!pages[i]) {
			pages_free(pages);
			return NULL;
		}
		atomic64_inc(&counts.pages);
	}
	return pages;
}

/*
 * Entries are special, so that nobody looks for a struct page behind them and counts mappings of it, and young and dirty already, so
 * that no process's access writes to a table that others read.
 */
static struct page *table_new(struct page **pages)
{
	pgprot_t prot = vm_get_page_prot(VM_READ | VM_WRITE | VM_SHARED);
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	pte_t *table;
	int i;

	if (!page)
		return NULL;
	if (!table_construct(page)) {
		__free_page(page);
		return NULL;
	}
	table = page_address(page);
	for (i = 0; i < PTRS_PER_PTE; i++)
		set_pte(table + i, pte_mkspecial(pte_mkdirty(pte_mkyoung(pfn_pte(page_to_pfn(pages[i]), prot)))));
	atomic64_inc(&counts.tables);
	return page;
}

static void table_free(struct page *page)
{
	table_destruct(page);
	__free_page(page);
	atomic64_dec(&counts.tables);
}

/* The slot with its pages, and its table if shared; NULL where memory is short. May sleep. */
struct slot *region_fill(struct region *region, size_t index)
{
	struct slot *slot = &region->slot[index];
	struct page **pages;
	struct page *table;

	if (smp_load_acquire(&slot->pages))
		return slot;
	mutex_lock(&region->lock);
	if (!slot->pages) {
		pages = pages_new();
		table = pages && !region->private_tables ? table_new(pages) : NULL;
		if (pages && (table || region->private_tables)) {
			slot->table = table;
			region->filled++;
			smp_store_release(&slot->pages, pages);
		} else if (pages) {
			pages_free(pages);
		}
	}
	mutex_unlock(&region->lock);
	return slot->pages ? slot : NULL;
}

/* Nobody has it open or mapped any more, so no PMD entry leads here; walkers that saw one may still be under way. */
void region_free(struct region *region)
{
	size_t i;

	synchronize_rcu();
	for (i = 0; i < region->slots; i++) {
		if (region->slot[i].table)
			table_free(region->slot[i].table);
		if (region->slot[i].pages)
			pages_free(region->slot[i].pages);
	}
	kvfree(region->slot);
	kfree(region);
}

/* The MMU model of mshare_bench/sim/mmu (see reference.py there for the rules) in C, for the side-by-side benchmark.
 *
 * One core; base pages only. Geometry, tags and stream are compile-time constants (-D, set by compare.py), so that the
 * compiler can unroll and specialise; streams are generated in line. A set is an array of keys in order of use, newest
 * first, as in the compiled Python model. -DAGES keeps a time of last use per entry instead and replaces the oldest.
 */
#include <stdint.h>
#include <string.h>

#define EMPTY UINT32_MAX
#define INLINE static inline __attribute__((always_inline))

enum { TAGS_NONE, TAGS_PCID, TAGS_GROUP };
enum { SEQUENTIAL = 0, UNIFORM = 1, ZIPF = 2 };

struct process {
    uint64_t seed, position;
    uint64_t numbers[8];       /* of the stream, as in streams.py */
    int64_t tables[6];         /* first line of the table of each level */
    int64_t domain;
    int64_t l1_misses, walks;
    int64_t data[4];
    int64_t table_hits[5][4];  /* PTE first */
};

struct zipf_bucket { uint32_t first, count, cut, other; };

/* One set-associative array. */
#ifdef AGES
#define ARRAY(name, sets, ways) static struct { uint32_t key[sets][ways]; uint32_t used[sets][ways]; } name
static uint32_t now;
INLINE int use(uint32_t *restrict key, uint32_t *restrict used, int ways, uint32_t wanted)
{
    int oldest = 0;
    now++;
    for (int way = 0; way < ways; way++)
        if (key[way] == wanted) {
            used[way] = now;
            return 1;
        }
    for (int way = 1; way < ways; way++)
        if (used[way] < used[oldest])
            oldest = way;
    key[oldest] = wanted;
    used[oldest] = now;
    return 0;
}
#define USE(name, set, ways, wanted) use(name.key[set], name.used[set], ways, wanted)
#define CLEAR(name) (memset(name.key, 0xff, sizeof name.key), memset(name.used, 0, sizeof name.used))
#else
#define ARRAY(name, sets, ways) static struct { uint32_t key[sets][ways]; } name
INLINE int use(uint32_t *key, int ways, uint32_t wanted)
{
    int way = 0;
    while (way < ways - 1 && key[way] != wanted)
        way++;
    int hit = key[way] == wanted;
    memmove(key + 1, key, (size_t)way * sizeof *key);
    key[0] = wanted;
    return hit;
}
#define USE(name, set, ways, wanted) use(name.key[set], ways, wanted)
#define CLEAR(name) memset(name.key, 0xff, sizeof name.key)
#endif

ARRAY(l1_tlb, L1_SETS, L1_WAYS);
ARRAY(stlb, STLB_SETS, STLB_WAYS);
#ifdef EVERYTHING
ARRAY(pmd_cache, PMD_SETS, PMD_WAYS);
ARRAY(pud_cache, PUD_SETS, PUD_WAYS);
ARRAY(pgd_cache, PGD_SETS, PGD_WAYS);
ARRAY(l1d, L1D_SETS, L1D_WAYS);
ARRAY(l2, L2_SETS, L2_WAYS);
ARRAY(l3, L3_SETS * L3_SLICES, L3_WAYS);
#endif

static const struct zipf_bucket *zipf;

INLINE uint64_t mix(uint64_t word)
{
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9u;
    word = (word ^ word >> 27) * 0x94D049BB133111EBu;
    return word ^ word >> 31;
}

INLINE uint64_t pick(uint64_t word, uint64_t choices) { return (word >> 32) * choices >> 32; }

INLINE int64_t next_address(const struct process *p, uint64_t index, uint64_t *cursor)
{
    const uint64_t *n = p->numbers;
    if (STREAM == SEQUENTIAL) {
        uint64_t address = *cursor;
        *cursor = address + n[0] >= n[1] ? address + n[0] - n[1] : address + n[0];
        return (int64_t)address;
    }
    uint64_t word = mix(p->seed + (index + 1) * 0x9E3779B97F4A7C15u);
    if (STREAM == UNIFORM)
        return (int64_t)((pick(word, n[0]) << 12) + (word & 63) * 64);
    struct zipf_bucket bucket = zipf[word & (ZIPF_BUCKETS - 1)];
    if (word >> 32 >= bucket.cut)
        bucket = zipf[bucket.other];
    uint64_t second = mix(word);
    uint64_t item = (bucket.first + pick(second, bucket.count)) * n[3] % n[0];
    return (int64_t)(item * n[1] + ((second & 0xFFFFFFFFu) * n[2] >> 32) * 64);
}

#ifdef EVERYTHING
INLINE int refer(int64_t line)
{
    if (USE(l1d, line % L1D_SETS, L1D_WAYS, (uint32_t)(line / L1D_SETS)))
        return 0;
    if (USE(l2, line % L2_SETS, L2_WAYS, (uint32_t)(line / L2_SETS)))
        return 1;
    uint64_t above = (uint64_t)line / L3_SETS;
    uint64_t slice = (above * 0x9E3779B1u & 0xFFFFFFFFu) * L3_SLICES >> 32;
    return USE(l3, slice * L3_SETS + (uint64_t)line % L3_SETS, L3_WAYS, (uint32_t)above) ? 2 : 3;
}

INLINE void walk(struct process *p, uint64_t address, const uint32_t *tags)
{
    int level = 2;
    if (!USE(pmd_cache, (address >> 21) % PMD_SETS, PMD_WAYS, tags[2] | (uint32_t)(address >> 21))) {
        level = 3;
        if (!USE(pud_cache, (address >> 30) % PUD_SETS, PUD_WAYS, tags[3] | (uint32_t)(address >> 30))) {
            level = 4;
            if (!USE(pgd_cache, (address >> 39) % PGD_SETS, PGD_WAYS, tags[4] | (uint32_t)(address >> 39)))
                level = 5;
        }
    }
    while (level-- > 1)
        p->table_hits[level - 1][refer(p->tables[level] + (int64_t)(address >> (15 + 9 * (level - 1))))]++;
}
#endif

INLINE void access_page(struct process *p, int64_t address, const uint32_t *tags, int64_t *last_page, int64_t *last_line)
{
    int64_t page = address >> 12;
#ifdef EVERYTHING
    int64_t line = address >> 6;
    if (line == *last_line) {
        p->data[0]++;
        return;
    }
    *last_line = line;
#endif
    if (page != *last_page) {
        *last_page = page;
        uint32_t key = tags[0] | (uint32_t)page;
        int in_l1 = USE(l1_tlb, page % L1_SETS, L1_WAYS, key);
        int in_stlb = USE(stlb, page % STLB_SETS, STLB_WAYS, key);
        p->l1_misses += !in_l1;
        if (!in_l1 && !in_stlb) {
            p->walks++;
#ifdef EVERYTHING
            walk(p, (uint64_t)address, tags);
#endif
        }
    }
#ifdef EVERYTHING
    p->data[refer(line)]++;
#endif
    (void)last_line;
}

static void flush(void)
{
    CLEAR(l1_tlb);
    CLEAR(stlb);
#ifdef EVERYTHING
    CLEAR(pmd_cache);
    CLEAR(pud_cache);
    CLEAR(pgd_cache);
#endif
}

/* At most as many processes as PCIDs: compare.py sees to it, so no tag is ever taken from a process. */
void run(struct process *processes, int64_t count, uint64_t until, const struct zipf_bucket *buckets)
{
    zipf = buckets;
    flush();
#ifdef EVERYTHING
    CLEAR(l1d);
    CLEAR(l2);
    CLEAR(l3);
#endif
    for (int64_t turn = 0; processes[turn % count].position < until; turn++) {
        struct process *p = &processes[turn % count];
        uint32_t tags[5];
        if (TAGS == TAGS_NONE && count > 1)
            flush();
        for (int level = 0; level < 5; level++) {
            int grouped = TAGS == TAGS_GROUP && p->domain >= 0 && (level == 0 || SHARED_LEVELS >= level - 1);
            uint32_t tag = TAGS == TAGS_NONE ? 0 : grouped ? (uint32_t)(PCIDS + p->domain) : (uint32_t)(turn % count);
            tags[level] = tag << KEY_BITS;
        }
        uint64_t end = p->position + QUANTUM < until ? p->position + QUANTUM : until;
        uint64_t cursor = STREAM == SEQUENTIAL ? (p->numbers[2] + p->position * p->numbers[0]) % p->numbers[1] : 0;
        int64_t last_page = -1, last_line = -1;
        for (uint64_t index = p->position; index < end; index++)
            access_page(p, next_address(p, index, &cursor), tags, &last_page, &last_line);
        p->position = end;
    }
}

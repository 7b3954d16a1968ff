/* Memory that hardly grows counts as steady: under a load, each look finds a little more. */
#include "base/resident.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define STEADY_NS (10 * NS_PER_S)
#define STEADY_BYTES ((size_t)1 << 20)
#define GROWTH_PART 5                  /* one fifth … */
#define GROWTH_BYTES ((size_t)8 << 20) /* … and at least so much */

size_t resident_bytes(void)
{
    unsigned long pages, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");

    if (statm == NULL)
        return 0;
    if (fscanf(statm, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    fclose(statm);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

bool resident_is_trim_due(struct resident *r, size_t bytes, int64_t now_ns)
{
    size_t growth = r->trimmed_bytes / GROWTH_PART;

    if (r->steady_ns == 0 || bytes > r->seen_bytes + STEADY_BYTES) {
        r->seen_bytes = bytes;
        r->steady_ns = now_ns;
    }
    return now_ns - r->steady_ns >= STEADY_NS &&
           bytes >= r->trimmed_bytes + (growth > GROWTH_BYTES ? growth : GROWTH_BYTES);
}

void resident_trimmed(struct resident *r, size_t bytes)
{
    *r = (struct resident){.trimmed_bytes = bytes};
}

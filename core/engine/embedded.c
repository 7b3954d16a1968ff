/* The table and the bytes come from two files that engine.cmake writes. The assembler includes each Lua file unchanged
 * (embedded_bytes.S); the C table has the begin and end of each file (embedded_table.h). A binary search finds a name.
 */
#include "engine/embedded.h"

#include <string.h>

struct embedded_range {
    const char *name, *begin, *end;
};

#include "engine/embedded_table.h"

size_t embedded_count(void)
{
    return EMBEDDED_COUNT;
}

struct embedded_file embedded_at(size_t i)
{
    const struct embedded_range *range = &embedded_table[i];

    return (struct embedded_file){
        .name = range->name, .bytes = range->begin, .length = (size_t)(range->end - range->begin)};
}

bool embedded_find(const char *name, struct embedded_file *ret_file)
{
    size_t low = 0, high = EMBEDDED_COUNT;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, embedded_table[middle].name);
        if (order == 0) {
            *ret_file = embedded_at(middle);
            return true;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

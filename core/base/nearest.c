/* Levenshtein's distance with one row. */
#include "base/nearest.h"

#include <ctype.h>
#include <string.h>

#define NAME_MAX_BYTES 64

size_t nearest_distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], la = strlen(a), lb = strlen(b);

    if (la > NAME_MAX_BYTES || lb > NAME_MAX_BYTES)
        return NAME_MAX_BYTES;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];
            size_t best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[lb];
}

void nearest_offer(struct nearest *n, const char *name)
{
    size_t distance = nearest_distance(n->word, name);

    if (distance > strlen(n->word) / 2 + 1 || (n->best != 0 && distance + 1 >= n->best))
        return;
    n->best = distance + 1;
    n->found = name;
}

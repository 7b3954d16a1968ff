/* A list from the connection that was quiet longest to the newest. It is walked when one comes, at most CROWD_MAX
 * steps. A connection that was shut stays in the list until the server has noticed, and counts no more. */
#include "http/crowd.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct guest {
    struct guest *before, *after;
    int fd;
    bool is_shut, has_asked;
    struct in6_addr address; /* IPv4 as ::ffff:a.b.c.d */
};

static struct in6_addr address_of(const struct sockaddr *address)
{
    struct in6_addr result = {0};

    if (address && address->sa_family == AF_INET6) {
        result = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    } else if (address && address->sa_family == AF_INET) {
        result.s6_addr[10] = result.s6_addr[11] = 0xff;
        memcpy(&result.s6_addr[12], &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    }
    return result;
}

static bool is_same(const struct guest *a, const struct guest *b)
{
    return memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static void link_last(struct crowd *c, struct guest *g)
{
    g->before = c->newest;
    g->after = NULL;
    *(c->newest ? &c->newest->after : &c->quietest) = g;
    c->newest = g;
}

static void unlink_guest(struct crowd *c, struct guest *g)
{
    *(g->before ? &g->before->after : &c->quietest) = g->after;
    *(g->after ? &g->after->before : &c->newest) = g->before;
}

static size_t count_of(const struct crowd *c, const struct guest *of)
{
    size_t count = 0;

    for (const struct guest *g = c->quietest; g; g = g->after)
        count += !g->is_shut && is_same(g, of);
    return count;
}

/* The connection of an address that was quiet longest; of any address when NULL. */
static void shut_quietest(struct crowd *c, const struct guest *of)
{
    for (struct guest *g = c->quietest; g; g = g->after) {
        if (g->is_shut || (of && !is_same(g, of)))
            continue;
        g->is_shut = true;
        c->count--;
        (void)shutdown(g->fd, SHUT_RDWR);
        return;
    }
}

/* One connection of the address that holds most; NULL: there is none. Among equals the one that was quiet longest. */
static const struct guest *largest(const struct crowd *c)
{
    const struct guest *found = NULL;
    size_t most = 0;

    for (const struct guest *g = c->quietest; g; g = g->after) {
        size_t count = g->is_shut || (found && is_same(g, found)) ? 0 : count_of(c, g);
        if (count > most) {
            found = g;
            most = count;
        }
    }
    return found;
}

struct guest *crowd_enter(struct crowd *c, int fd, const struct sockaddr *address)
{
    struct guest *g = xcalloc(1, sizeof(*g));

    g->fd = fd;
    g->address = address_of(address);
    if (count_of(c, g) >= CROWD_MAX_PER_ADDRESS)
        shut_quietest(c, g);
    else if (c->count >= CROWD_MAX)
        shut_quietest(c, largest(c));
    link_last(c, g);
    c->count++;
    c->strangers++;
    return g;
}

void crowd_stir(struct crowd *c, struct guest *g)
{
    c->strangers -= !g->has_asked;
    g->has_asked = true;
    unlink_guest(c, g);
    link_last(c, g);
}

void crowd_leave(struct crowd *c, struct guest *g)
{
    if (!g)
        return;
    unlink_guest(c, g);
    c->count -= !g->is_shut;
    c->strangers -= !g->has_asked;
    free(g);
}

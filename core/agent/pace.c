/* Decides when the next reload may run. Two distances count, and the longer one holds.
 *
 * The distance of all: a worker may continue with its connections for hard-stop-after, but HAProxy ends it earlier
 * after mworker-max-reloads reloads. So the distance grows with the number of reloads that the oldest such worker has
 * seen. The k-th distance is m * q^k, where m is the shortest distance and q the smallest factor for which m * (q + q^2
 * + … + q^N) reaches hard-stop-after. While no old worker has connections, the distance is m.
 *
 * The distance of an owner, a namespace: each reload that its changes need adds 1 to its pressure, and each minute
 * subtracts 1. Its distance is m while the pressure is at most PRESSURE_FREE, and doubles with each further 1. Other
 * owners do not wait for it: a reload runs when the first waiting owner is due, and includes the changes of all.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

#define PRESSURE_FREE 4.0
#define PRESSURE_MAX 20.0
#define PRESSURE_UNIT_NS (60 * NS_PER_S)
#define OWNER_MAX_NS (300 * NS_PER_S)
#define OWNERS_MAX 4096
#define HARD_STOP_NS (1800 * NS_PER_S)
#define MAX_RELOADS 50
#define BLOCKED_NS NS_PER_S

struct pace_owner {
    double pressure;
    int64_t last_ns;
    bool waits;
};

/* "30m": a time in HAProxy's units, milliseconds without a unit; 0 when it is no time. */
static int64_t time_parse(const char *text)
{
    static const struct {
        const char *unit;
        int64_t ns;
    } units[] = {{"us", 1000},         {"ms", NS_PER_MS},      {"s", NS_PER_S},
                 {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {"d", 86400 * NS_PER_S}};
    char *end;
    double value = strtod(text, &end);
    size_t length = strcspn(end, " \t\n");
    int64_t unit_ns = NS_PER_MS;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strlen(units[i].unit) == length && strncmp(end, units[i].unit, length) == 0)
            unit_ns = units[i].ns;
    return value > 0 && value < 1e9 ? (int64_t)(value * (double)unit_ns) : 0;
}

static const char *argument_of(const char *config, const char *keyword)
{
    const char *at = strstr(config, keyword);
    return at ? at + strlen(keyword) : NULL;
}

void pace_learn(struct agent *a, const char *config)
{
    const char *stop = argument_of(config, "\n    hard-stop-after "),
               *max = argument_of(config, "\n    mworker-max-reloads ");
    int64_t stop_ns = stop ? time_parse(stop) : 0;
    long reloads = max ? strtol(max, NULL, 10) : 0;
    a->pace.hard_stop_ns = stop_ns > 0 ? stop_ns : HARD_STOP_NS;
    a->pace.max_reloads = reloads > 0 && reloads < 100000 ? (unsigned)reloads : MAX_RELOADS;
}

/* The sum of q^1 … q^n. */
static double powers_sum(double q, unsigned n)
{
    return q - 1 < 1e-9 ? n : q * (pow(q, n) - 1) / (q - 1);
}

int64_t pace_distance_ns(int64_t shortest_ns, int64_t hard_stop_ns, unsigned max_reloads, unsigned lived_through)
{
    double wanted = (double)hard_stop_ns / (double)shortest_ns, low = 1, high = wanted > 1 ? wanted : 1;
    if (lived_through == 0)
        return shortest_ns;
    for (int i = 0; i < 60 && powers_sum(low, max_reloads) < wanted; i++) {
        double middle = (low + high) / 2;
        if (powers_sum(middle, max_reloads) < wanted)
            low = middle;
        else
            high = middle;
    }
    /* high is at least as large as the wanted factor. */
    double q = powers_sum(1, max_reloads) >= wanted ? 1 : high;
    double distance = (double)shortest_ns * pow(q, lived_through < max_reloads ? lived_through : max_reloads);
    int64_t longest_ns = hard_stop_ns > shortest_ns ? hard_stop_ns : shortest_ns;
    return distance < (double)longest_ns ? (int64_t)distance + 1 : longest_ns;
}

/* ---- owners ---- */

static double pressure_now(const struct pace_owner *o, int64_t now_ns)
{
    double left = o->pressure - (double)(now_ns - o->last_ns) / (double)PRESSURE_UNIT_NS;
    return left > 0 ? left : 0;
}

static int64_t owner_due_ns(const struct agent *a, const struct pace_owner *o, int64_t now_ns)
{
    double above = pressure_now(o, now_ns) - PRESSURE_FREE;
    double distance = (double)a->config.min_reload_interval_ns * (above > 0 ? exp2(ceil(above)) : 1);
    return o->last_ns ? o->last_ns + (distance < (double)OWNER_MAX_NS ? (int64_t)distance : OWNER_MAX_NS) : now_ns;
}

/* Removes owners without pressure. */
static void owners_sweep(struct agent *a, int64_t now_ns)
{
    struct map_slot *slot;
    VEC(char *) idle = {0};
    for (size_t it = 0; (slot = map_next(&a->pace.owners, &it));) {
        const struct pace_owner *o = slot->value;
        if (!o->waits && pressure_now(o, now_ns) <= 0)
            vec_push(&idle, xmemdup0(slot->key, slot->key_length));
    }
    for (size_t i = 0; i < idle.length; i++) {
        free(map_del(&a->pace.owners, idle.items[i]));
        free(idle.items[i]);
    }
    vec_done(&idle);
}

/* The namespace of "namespace/name"; "" for parts of the templates. */
static char *owner_name(const struct fragment *f)
{
    return xmemdup0(f->owner_id, strcspn(f->owner_id, "/"));
}

static struct pace_owner *owner_get(struct agent *a, const char *name)
{
    struct pace_owner *o = map_get(&a->pace.owners, name);
    if (o)
        return o;
    if (a->pace.owners.count >= OWNERS_MAX)
        owners_sweep(a, clock_now_ns());
    if (a->pace.owners.count >= OWNERS_MAX) /* with so many owners, only the distance of all holds */
        return NULL;
    o = xcalloc(1, sizeof(*o));
    map_put(&a->pace.owners, name, o);
    return o;
}

static void owner_waits(struct agent *a, const struct fragment *f)
{
    CLEANUP(free_ptr) char *name = owner_name(f);
    struct pace_owner *o = *name ? owner_get(a, name) : NULL;
    if (o)
        o->waits = true;
    else
        a->pace.template_waits = true;
}

void pace_note_item(struct agent *a, const struct item *item)
{
    const struct fragment *f = item->accepted_by ? item->accepted_by : item->winner;
    a->pace.any_waits = true;
    if (f)
        owner_waits(a, f);
}

static bool waits_already(const struct agent *a, const struct item *item)
{
    if (!item || !item->accepted_by)
        return false;
    CLEANUP(free_ptr) char *name = owner_name(item->accepted_by);
    const struct pace_owner *o = map_get(&a->pace.owners, name);
    return *name ? o && o->waits : a->pace.template_waits;
}

void pace_note_section(struct agent *a, const char *name)
{
    const struct section *s = model_section(a->model, name);
    bool known = false;
    a->pace.any_waits = true;
    /* The piece that caused the change is unknown here. If the owner of one piece waits already, the change counts for
     * that owner. */
    for (size_t i = 0; s && i < s->pieces.length; i++)
        known |= waits_already(a, s->pieces.items[i]);
    for (size_t i = 0; s && !known && i < s->pieces.length; i++)
        if (s->pieces.items[i]->accepted_by)
            owner_waits(a, s->pieces.items[i]->accepted_by);
}

void pace_clear(struct agent *a)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->pace.owners, &it));)
        ((struct pace_owner *)slot->value)->waits = false;
    a->pace.template_waits = a->pace.any_waits = false;
}

int64_t pace_wait_ns(const struct agent *a)
{
    const struct map_slot *slot;
    int64_t now_ns = clock_now_ns(), first_ns = INT64_MAX;
    if (!a->last_reload_ns)
        return 0;
    for (size_t it = 0; (slot = map_next(&a->pace.owners, &it));) {
        const struct pace_owner *o = slot->value;
        int64_t due_ns = o->waits ? owner_due_ns(a, o, now_ns) : INT64_MAX;
        first_ns = due_ns < first_ns ? due_ns : first_ns;
    }
    if (a->pace.template_waits || first_ns == INT64_MAX)
        first_ns = now_ns;
    unsigned lived = a->workers_old ? a->pace.lived_through : 0;
    int64_t all_ns = a->last_reload_ns + pace_distance_ns(a->config.min_reload_interval_ns, a->pace.hard_stop_ns,
                                                          a->pace.max_reloads, lived);
    /* One more reload would end the oldest worker: waits until it has ended by itself. */
    if (lived >= a->pace.max_reloads && all_ns < now_ns + BLOCKED_NS)
        all_ns = now_ns + BLOCKED_NS;
    return (first_ns > all_ns ? first_ns : all_ns) - now_ns;
}

void pace_reloaded(struct agent *a)
{
    struct map_slot *slot;
    int64_t now_ns = clock_now_ns();
    for (size_t it = 0; (slot = map_next(&a->pace.owners, &it));) {
        struct pace_owner *o = slot->value;
        if (!o->waits)
            continue;
        double pressure = pressure_now(o, now_ns) + 1;
        o->pressure = pressure < PRESSURE_MAX ? pressure : PRESSURE_MAX;
        o->last_ns = now_ns;
    }
    pace_clear(a);
    a->pace.lived_through = a->workers_old ? a->pace.lived_through + 1 : 0;
}

void pace_note_workers(struct agent *a, const struct master_state *state)
{
    unsigned most = 0;
    for (size_t i = 0; i < state->old_workers.length; i++)
        if (state->old_workers.items[i].reloads > most)
            most = state->old_workers.items[i].reloads;
    a->pace.lived_through = most;
}

void pace_done(struct agent *a)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->pace.owners, &it));)
        free(slot->value);
    map_done(&a->pace.owners);
}

/* DIRECTORY/servers.state keeps the resolved addresses of host names across a reload. Without it, a new worker would
 * have no addresses until its resolvers have answered, and would answer 503. The file has the format of HAProxy's
 * server-state-file. The configuration must name it ("server-state-file", "load-server-state-from-file global"; servers
 * with "init-addr last,…"). It contains only servers with a host name, and only while the name is still the wanted one.
 * Everything else comes from the configuration.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

#define STATE_FILE "servers.state"
#define STATE_MAX_BYTES ((size_t)16 << 20)
#define STATE_HEADER \
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight " \
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state " \
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr " \
    "srv_agent_addr srv_agent_port\n"

/* Columns of `show servers state`. */
enum { COLUMN_BACKEND = 1, COLUMN_SERVER = 3, COLUMN_ADDRESS = 4, COLUMN_NAME = 17, COLUMNS = 19 };

struct known_address {
    char *name, *address;
};

static void address_free(struct known_address *k)
{
    if (!k)
        return;
    free(k->name);
    free(k->address);
    free(k);
}

void addresses_done(struct agent *a)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->addresses, &it));)
        address_free(slot->value);
    map_done(&a->addresses);
    map_init(&a->addresses, false);
}

static bool is_address(const char *text)
{
    struct in6_addr any;
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

static void take_line(struct agent *a, char *line)
{
    char *columns[COLUMNS], *rest = line;
    for (size_t i = 0; i < COLUMNS; i++)
        if (!(columns[i] = strsep(&rest, " ")))
            return;
    if (strcmp(columns[COLUMN_NAME], "-") == 0 || !is_address(columns[COLUMN_ADDRESS]))
        return;
    CLEANUP(free_ptr) char *key = xasprintf("%s/%s", columns[COLUMN_BACKEND], columns[COLUMN_SERVER]);
    struct known_address *k = xcalloc(1, sizeof(*k));
    k->name = xstrdup(columns[COLUMN_NAME]);
    k->address = xstrdup(columns[COLUMN_ADDRESS]);
    address_free(map_put(&a->addresses, key, k));
}

void addresses_take(struct agent *a, const char *show_servers_state)
{
    addresses_done(a);
    while (*show_servers_state) {
        size_t length = strcspn(show_servers_state, "\n");
        CLEANUP(free_ptr) char *line = xmemdup0(show_servers_state, length);
        if (*line && *line != '#')
            take_line(a, line);
        show_servers_state += length + (show_servers_state[length] == '\n');
    }
}

void addresses_load(struct agent *a)
{
    CLEANUP(buf_done) struct buf text = {0};
    if (!a->addresses.count && disk_read(a->disk, STATE_FILE, STATE_MAX_BYTES, &text, NULL) == 0)
        addresses_take(a, buf_str(&text));
}

bool addresses_exist(const struct agent *a)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->live->backends, &it));) {
        const struct live_backend *b = slot->value;
        for (size_t i = 0; i < b->cfg.servers.length; i++)
            if (!b->cfg.servers.items[i]->literal)
                return true;
    }
    return false;
}

void addresses_add_file(struct agent *a, const struct live *live, struct disk_files *files)
{
    struct buf text = {0};
    const struct map_slot *slot;
    buf_puts(&text, STATE_HEADER);
    for (size_t it = 0; a->addresses.count && (slot = map_next(&live->backends, &it));) {
        const struct live_backend *b = slot->value;
        for (size_t i = 0; i < b->cfg.servers.length; i++) {
            const struct cfg_server *s = b->cfg.servers.items[i];
            if (s->literal || s->admin != CFG_READY)
                continue;
            CLEANUP(free_ptr) char *key = xasprintf("%s/%s", b->name, s->name);
            const struct known_address *k = map_get(&a->addresses, key);
            if (k && strcasecmp(k->name, s->address) == 0)
                buf_printf(&text, "0 %s 0 %s %s 2 0 %d %d 0 0 0 0 0 0 0 0 %s %d - 0 0 - - 0\n", b->name, s->name,
                           k->address, s->weight, s->weight, s->address, s->port);
        }
    }
    size_t length = text.length;
    disk_files_take(files, STATE_FILE, buf_steal(&text), length);
}

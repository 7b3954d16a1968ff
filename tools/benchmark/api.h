/* api.h — how the benchmark's programs reach the API server of a test cluster (tools/lib/cluster.sh says what its
 * folder has). */
#ifndef HAPTIC_BENCHMARK_API_H
#define HAPTIC_BENCHMARK_API_H

#include <curl/curl.h>

struct api {
    char server[64], ca[512], certificate[512], key[512];
};

/* Ends the program when the folder is none of a cluster. */
void api_open(struct api *api, const char *cluster);
/* A handle for that path ("/api/v1/…"): the administrator's certificate, HTTP/2 on one shared connection. */
CURL *api_handle(const struct api *api, const char *path);
/* The same handle for another path. */
void api_set_path(const struct api *api, CURL *handle, const char *path);

#endif

/* How it works: the certificate's files are given to libcurl; it keeps one connection per multi handle, and PIPEWAIT
 * makes requests wait for that one instead of opening their own. */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_open(struct api *api, const char *cluster)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/server", cluster);
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(api->server, sizeof(api->server), file) == NULL) {
        fprintf(stderr, "%s is no folder of a test cluster\n", cluster);
        exit(2);
    }
    fclose(file);
    api->server[strcspn(api->server, "\n")] = '\0';
    snprintf(api->ca, sizeof(api->ca), "%s/ca.crt", cluster);
    snprintf(api->certificate, sizeof(api->certificate), "%s/admin.crt", cluster);
    snprintf(api->key, sizeof(api->key), "%s/admin.key", cluster);
}

void api_set_path(const struct api *api, CURL *handle, const char *path)
{
    char url[1024];

    snprintf(url, sizeof(url), "%s%s", api->server, path);
    curl_easy_setopt(handle, CURLOPT_URL, url);
}

CURL *api_handle(const struct api *api, const char *path)
{
    CURL *handle = curl_easy_init();

    if (handle == NULL)
        abort();
    api_set_path(api, handle, path);
    curl_easy_setopt(handle, CURLOPT_CAINFO, api->ca);
    curl_easy_setopt(handle, CURLOPT_SSLCERT, api->certificate);
    curl_easy_setopt(handle, CURLOPT_SSLKEY, api->key);
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(handle, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    return handle;
}

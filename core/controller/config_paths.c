/* A folder is read without its subfolders. */
#include "controller/config_paths.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

#define FILES_MAX 200

void config_paths_done(struct config_strings *files)
{
    for (size_t i = 0; i < files->length; i++)
        free(files->items[i]);
    vec_done(files);
}

char *config_paths_with(const char *given, const char *path)
{
    return given != NULL ? xasprintf("%s" CONFIG_PATHS_SEPARATOR "%s", given, path) : xstrdup(path);
}

static bool is_manifest(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');

    return *entry->d_name != '.' && end != NULL &&
           (strcmp(end, ".yaml") == 0 || strcmp(end, ".yml") == 0 || strcmp(end, ".json") == 0);
}

static int compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static int add_folder(const char *path, struct config_strings *files, struct err *err)
{
    DIR *folder = opendir(path);
    size_t before = files->length;
    const struct dirent *entry;

    if (folder == NULL)
        return err_set_sys(err, errno, "configuration %s", path);
    while ((entry = readdir(folder)) != NULL && files->length <= FILES_MAX)
        if (is_manifest(entry))
            vec_push(files, xasprintf("%s/%s", path, entry->d_name));
    closedir(folder);
    if (files->length > FILES_MAX)
        return err_set(err, ERR_LIMIT, "configuration %s: has more than %d files", path, FILES_MAX);
    if (files->length == before)
        return err_set(err, ERR_NOTFOUND, "configuration %s: no file of this folder ends in .yaml, .yml or .json",
                       path);
    qsort(files->items + before, files->length - before, sizeof(*files->items), compare);
    return 0;
}

static int add_path(const char *path, struct config_strings *files, struct err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_set_sys(err, errno, "configuration %s", path);
    if (S_ISDIR(st.st_mode))
        return add_folder(path, files, err);
    vec_push(files, xstrdup(path));
    return 0;
}

int config_paths(const char *given, struct config_strings *files, struct err *err)
{
    struct stat st;

    if (stat(given, &st) == 0 || strstr(given, CONFIG_PATHS_SEPARATOR) == NULL)
        return add_path(given, files, err);
    for (const char *at = given; *at != '\0';) {
        size_t length = strcspn(at, CONFIG_PATHS_SEPARATOR);
        CLEANUP(free_ptr) char *path = xmemdup0(at, length);
        if (length > 0 && add_path(path, files, err) < 0)
            return -1;
        at += length + (at[length] != '\0');
    }
    return 0;
}

int config_paths_check(const char *given, struct err *err)
{
    struct config_strings files = {0};
    int result = config_paths(given, &files, err);

    for (size_t i = 0; result == 0 && i < files.length; i++)
        if (access(files.items[i], R_OK) < 0)
            result = err_set_sys(err, errno, "configuration %s", files.items[i]);
    config_paths_done(&files);
    return result;
}

struct timespec config_paths_time(const char *given)
{
    struct config_strings files = {0};
    struct timespec newest = {0};
    struct stat st;
    struct err err;

    (void)!config_paths(given, &files, &err);
    for (size_t i = 0; i < files.length; i++)
        if (stat(files.items[i], &st) == 0 &&
            (st.st_mtim.tv_sec > newest.tv_sec ||
             (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec > newest.tv_nsec)))
            newest = st.st_mtim;
    config_paths_done(&files);
    return newest;
}

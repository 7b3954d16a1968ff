/* A memory file of fixed, sealed size, mapped by both processes. The child has a single thread, and the core reads the
 * page only when the child is dead, or compares its sequence number. So the order of most stores does not matter.
 * `active` is stored last, with release, so that a complete note is visible.
 */
#include "engine/shared_page.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/frame.h"

static int map(int fd, struct shared_page **ret_page, struct err *err)
{
    void *page = mmap(NULL, sizeof(struct shared_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (page == MAP_FAILED)
        return err_set_sys(err, errno, "map the page shared with the renderer");
    *ret_page = page;
    return 0;
}

int shared_page_new(struct shared_page **ret_page, int *ret_fd, struct err *err)
{
    int fd = memfd_create("haptic-at-hand", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_set_sys(err, errno, "make the page shared with the renderer");
    if (ftruncate(fd, sizeof(struct shared_page)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        err_set_sys(err, errno, "make the page shared with the renderer");
        close(fd);
        return -1;
    }
    if (map(fd, ret_page, err) < 0) {
        close(fd);
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

int shared_page_map(int fd, struct shared_page **ret_page, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set_sys(err, errno, "descriptor %d", fd);
    if (st.st_size != (off_t)sizeof(struct shared_page))
        return err_set(err, ERR_INVALID, "descriptor %d is not the page shared with the core", fd);
    return map(fd, ret_page, err);
}

void shared_page_unmap(struct shared_page *page)
{
    if (page)
        munmap(page, sizeof(*page));
}

static uint32_t note(char *to, size_t max, const struct field *from)
{
    size_t length = from->length < max ? from->length : max;

    memcpy(to, from->bytes, length);
    return (uint32_t)length;
}

void shared_page_begin(struct shared_page *page, const struct field *id, const struct field *template_name,
                       const struct field *owner_kind, const struct field *owner_id)
{
    atomic_store_explicit(&page->active, 0, memory_order_relaxed);
    atomic_store_explicit(&page->place_length, 0, memory_order_relaxed);
    page->id_length = note(page->id, sizeof(page->id), id);
    page->template_length = note(page->template_name, sizeof(page->template_name), template_name);
    page->owner_kind_length = note(page->owner_kind, sizeof(page->owner_kind), owner_kind);
    page->owner_id_length = note(page->owner_id, sizeof(page->owner_id), owner_id);
    atomic_fetch_add_explicit(&page->sequence, 1, memory_order_relaxed);
    atomic_store_explicit(&page->active, 1, memory_order_release);
}

void shared_page_end(struct shared_page *page)
{
    atomic_store_explicit(&page->active, 0, memory_order_release);
}

void shared_page_place(struct shared_page *page, const char *template_name, int line)
{
    char text[AT_HAND_PLACE_MAX], digits[12];
    size_t length = strnlen(template_name, AT_HAND_PLACE_MAX - sizeof(digits) - 1), count = 0;

    memcpy(text, template_name, length);
    text[length++] = ':';
    for (; line > 0 && count < sizeof(digits); line /= 10)
        digits[count++] = (char)('0' + line % 10);
    while (count > 0)
        text[length++] = digits[--count];
    atomic_store_explicit(&page->place_length, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(page->place, text, length);
    atomic_store_explicit(&page->place_length, (uint32_t)length, memory_order_release);
}

/* Untrusted: the length and the bytes may be anything. A note with a control character is no name. */
static bool copy_out(char *to, const char *from, uint32_t length, size_t max)
{
    if (length > max)
        return false;
    memcpy(to, from, length);
    to[length] = '\0';
    for (uint32_t i = 0; i < length; i++)
        if ((unsigned char)to[i] < ' ')
            return false;
    return true;
}

bool shared_page_read(const struct shared_page *page, struct at_hand *ret_at_hand)
{
    uint32_t place_length = atomic_load_explicit(&page->place_length, memory_order_acquire);

    if (!copy_out(ret_at_hand->place, page->place, place_length, AT_HAND_PLACE_MAX))
        ret_at_hand->place[0] = '\0';
    if (atomic_load_explicit(&page->active, memory_order_acquire) &&
        copy_out(ret_at_hand->id, page->id, page->id_length, AT_HAND_ID_MAX) &&
        copy_out(ret_at_hand->template_name, page->template_name, page->template_length, AT_HAND_TEMPLATE_MAX) &&
        copy_out(ret_at_hand->owner_kind, page->owner_kind, page->owner_kind_length, AT_HAND_OWNER_KIND_MAX) &&
        copy_out(ret_at_hand->owner_id, page->owner_id, page->owner_id_length, AT_HAND_OWNER_ID_MAX))
        return true;
    ret_at_hand->id[0] = ret_at_hand->template_name[0] = '\0';
    ret_at_hand->owner_kind[0] = ret_at_hand->owner_id[0] = '\0';
    return false;
}

/* Segments of version anchors, and their names: what is read says the same when it is written again. */
#include <stdlib.h>
#include <string.h>

#include "syncd/anchor_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_segment(const uint8_t *data, size_t size)
{
    static struct anchor entries[ANCHOR_ENTRIES];
    static uint8_t again[ANCHOR_SEGMENT_MOST];
    struct anchor_segment s;

    if (anchor_segment_read(data, size, &s) < 0)
        return;
    for (size_t i = 0; i < s.n; i++)
        entries[i] = anchor_entry(data, i);
    anchor_segment_write(&s, entries, again);
    if (memcmp(data, again, size) != 0)
        abort();
    for (size_t i = 1; i < s.n; i++) {
        struct anchor ab = anchor_join(&entries[i - 1], &entries[i]), ba = anchor_join(&entries[i], &entries[i - 1]);

        if (ab.version != ba.version || ab.life != ba.life || ab.above != ba.above || ab.accepts != ba.accepts)
            abort();
    }
}

static void read_name(const uint8_t *data, size_t size)
{
    char name[64] = "", again[ANCHOR_NAME];
    uint8_t agent[ANCHOR_AGENT];
    uint32_t number;

    memcpy(name, data, size < sizeof(name) ? size : sizeof(name) - 1);
    if (!anchor_name_read(name, agent, &number))
        return;
    anchor_name(agent, number, again);
    if (strcmp(name, again) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_segment(data, size);
    read_name(data, size);
    return 0;
}

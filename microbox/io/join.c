#include "microbox/io/join.h"

enum { FRAMES = 256 };

static void note(struct mb_joined *joined, const struct mb_frame *frame) {
    if (joined->packets++ == 0)
        joined->first_time = frame->time;
    if (frame->time > joined->last_time)
        joined->last_time = frame->time;
}

int mb_join(struct mb_sink *sink, struct mb_source *source, struct mb_joined *joined) {
    const uint8_t *pool = mb_source_pool(source);
    struct mb_frame frames[FRAMES];
    *joined = (struct mb_joined){.link_type = mb_source_link_type(source)};
    for (size_t count; (count = mb_source_read(source, frames, FRAMES)) != 0;) {
        for (size_t i = 0; i < count; i++) {
            joined->link_type = frames[i].link_type;
            const int result = mb_sink_write(sink, &frames[i], pool + frames[i].offset);
            if (result != 0)
                return result;
            note(joined, &frames[i]);
        }
    }
    return 0;
}

/*
 * Microbox for programs in C: everything that is public, in one header.
 *
 * - events: their numbers, payloads and snapshots (events/);
 * - io: where frames come from and go to;
 * - bus: the event log, as its publisher writes it (log.h) and an NF reads it (reader.h);
 * - stack: the µStack, modules for it (module.h), and a worker that joins it all.
 *
 * layout.h explains the shared memory. Functions that can fail return 0 or -errno unless their
 * comment says otherwise. Link with libmicrobox, libpcap and the threads library.
 */
#ifndef MICROBOX_H
#define MICROBOX_H

#include "microbox/events/event_types.h"
#include "microbox/events/payloads.h"

#include "microbox/io/filter.h"
#include "microbox/io/sink.h"
#include "microbox/io/source.h"

#include "microbox/bus/area.h"
#include "microbox/bus/layout.h"
#include "microbox/bus/log.h"
#include "microbox/bus/reader.h"
#include "microbox/bus/wait.h"

#include "microbox/stack/module.h"
#include "microbox/stack/stack.h"
#include "microbox/stack/worker.h"

#endif

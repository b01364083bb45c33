/*
 * What adversaries send so that each packet costs its receiver much: a million packets a flood,
 * written into a workload's memory in place of its connections.
 */
#ifndef MICROBOX_BENCHMARKS_SUPPORT_STACK_FLOOD_H
#define MICROBOX_BENCHMARKS_SUPPORT_STACK_FLOOD_H

#include "benchmarks/support/stack_workload.h"

enum flood {
    FLOOD_NEW_DATAGRAMS, /* fragments, each of another datagram, from random addresses */
    FLOOD_FEW_DATAGRAMS, /* of one datagram after another, in scattered order, with holes */
    FLOOD_OVERLAPS,      /* then fragments that lie over all those, again and again */
    FLOOD_SEGMENTS_ONE,  /* of 1 byte with holes, in scattered order, in one connection */
    FLOOD_SEGMENTS_MANY, /* last byte first, in 20,000 connections, in random order */
    FLOOD_SYNS,          /* each from another address */
    FLOODS
};

enum { FLOOD_PACKETS = 1000000, FLOOD_CONNECTIONS = 20000 };

extern const char *const flood_names[FLOODS];
extern const char *const flood_sentences[FLOODS];

/* Exits where there is no memory. Destroy it as a workload. */
struct workload flood_create(enum flood flood);

#endif

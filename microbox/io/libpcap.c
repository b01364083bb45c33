/*
 * Captures that only libpcap reads (pcap before version 2.4, vendors' variants): copied once, as
 * pcap with nanoseconds, into a sealed memfd that then is the frame pool.
 */
#include "microbox/io/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool copy_records(pcap_t *capture, FILE *copy, enum mb_source_status *status,
                         char error[MB_ERROR_SIZE]) {
    pcap_dumper_t *dumper = pcap_dump_fopen(capture, copy);
    if (!dumper) {
        snprintf(error, MB_ERROR_SIZE, "%s", pcap_geterr(capture));
        fclose(copy);
        return false;
    }
    struct pcap_pkthdr *header;
    const u_char *bytes;
    int result;
    while ((result = pcap_next_ex(capture, &header, &bytes)) == 1)
        pcap_dump((u_char *)dumper, header, bytes);
    *status = MB_SOURCE_END;
    if (result == PCAP_ERROR) {
        *status = MB_SOURCE_BROKEN;
        snprintf(error, MB_ERROR_SIZE, "libpcap: %s", pcap_geterr(capture));
    }
    const bool written = pcap_dump_flush(dumper) == 0 && !ferror(pcap_dump_file(dumper));
    pcap_dump_close(dumper);
    if (!written)
        snprintf(error, MB_ERROR_SIZE, "no memory for a copy of the capture");
    return written;
}

static int copy_to_memory(pcap_t *capture, enum mb_source_status *status,
                          char error[MB_ERROR_SIZE]) {
    const int fd = memfd_create("microbox capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const int stream_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *copy = stream_fd < 0 ? NULL : fdopen(stream_fd, "w");
    if (!copy) {
        snprintf(error, MB_ERROR_SIZE, "no memory for a copy of the capture");
        if (stream_fd >= 0)
            close(stream_fd);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (copy_records(capture, copy, status, error)) {
        if (fcntl(fd, F_ADD_SEALS, seals) == 0)
            return fd;
        snprintf(error, MB_ERROR_SIZE, "the copy of the capture cannot be sealed: %s",
                 strerror(errno));
    }
    close(fd);
    return -1;
}

int mb_libpcap_copy(const uint8_t *bytes, uint64_t size, enum mb_source_status *status,
                    char error[MB_ERROR_SIZE]) {
    error[0] = '\0';
    /* Opened for reading only: the bytes are not written. */
    FILE *file = fmemopen((void *)(uintptr_t)bytes, size, "r");
    if (!file) {
        snprintf(error, MB_ERROR_SIZE, "no memory to read the capture");
        return -1;
    }
    char words[PCAP_ERRBUF_SIZE];
    pcap_t *capture =
        pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, words);
    if (!capture) {
        fclose(file);
        return -1;
    }
    const int fd = copy_to_memory(capture, status, error);
    pcap_close(capture);
    return fd;
}

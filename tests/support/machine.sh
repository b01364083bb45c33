#!/bin/sh
# Starts systemd as the first process of a machine of its own, in namespaces that the caller made:
#
#     unshare --mount --pid --fork --kill-child --cgroup --ipc --uts --net machine.sh ROOT SITE
#
# It has the files of this machine; ROOT/files is laid over them, and what it writes goes into memory,
# mounted at ROOT/memory. SITE, Python packages, is at /opt/site. Its units are those of /units alone, so
# that nothing of this machine is started a second time.
set -eu
root=$1 site=$2
memory=$root/memory new=$root/memory/all

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$memory"
mkdir "$memory/work" "$new"
cp -R "$root/files" "$memory/files"
mount -t overlay -o "lowerdir=/,upperdir=$memory/files,workdir=$memory/work" overlay "$new"
mkdir -p "$new/opt/site" "$new/before"
mount --bind "$site" "$new/opt/site"

for folder in run tmp var/log dev; do
    mount -t tmpfs -o mode=755 tmpfs "$new/$folder"
done
chmod 1777 "$new/tmp"
for device in null zero full random urandom tty; do
    touch "$new/dev/$device"
    mount --bind "/dev/$device" "$new/dev/$device"
done
mkdir "$new/dev/shm" "$new/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"

# The kernel's settings are this machine's too: systemd is not to write there.
mount -t proc proc "$new/proc"
mount --bind "$new/proc/sys" "$new/proc/sys"
mount -o bind,remount,ro "$new/proc/sys"
mount -t sysfs -o ro sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"

cd "$new"
pivot_root . before
umount -l /before
# `container` keeps systemd from what only the first process of a kernel does (its clock, its limits).
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/units \
    /lib/systemd/systemd --unit=multi-user.target --log-target=journal --show-status=no

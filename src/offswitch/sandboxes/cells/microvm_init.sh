#!/bin/busybox sh
# Init of the guest. It speaks with the cell outside over the port `control`, a line at a time:
#   out: ready | started PID | missing CODE WHY | ended CODE | failed WHY
#   in:  go SECONDS | signal NUMBER
# Each of the agent's output ports ends with $MARK, which the agent does not know.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid,noexec dev /dev
mkdir /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,mode=600,ptmxmode=666 devpts /dev/pts
echo -1000 >/proc/self/oom_score_adj
for module in /modules/*; do insmod "$module"; done

. /plan

# named NAME FILE...: sets $file to the one that holds the name. With nothing but what the shell does itself, for a
# process costs 10 ms where every instruction is translated.
named() {
  wanted=$1
  shift
  for file; do
    have=
    read -r have <"$file"
    [ "$have" = "$wanted" ] && return
  done 2>/dev/null
  return 1
}

# Ports appear one after the other.
for name in control $PORTS; do
  tries=0
  until named "$name" /sys/class/virtio-ports/*/name; do
    tries=$((tries + 1))
    [ $tries -lt 500 ] || poweroff -f
    usleep 10000
  done
  file=${file%/name}
  eval "port_$name=/dev/${file##*/}"
done
exec 3<>"$port_control"

fail() {
  echo "failed $*" >&3
  sleep 5
  poweroff -f
}

for name in chroot nsenter setpriv setsid ${TERMINAL:+telnetd}; do
  [ -e "/bin/$name" ] || fail "the host's busybox has no $name: install a fuller busybox-static"
done

# disk SERIAL: sets $disk to the device of this serial number
disk() {
  named "$1" /sys/block/*/serial || fail "the disk $1 is not there"
  file=${file%/serial}
  disk=/dev/${file##*/}
}

disk root
mount -t ext4 -o ro,nosuid,nodev "$disk" /lower || fail "the root file system cannot be mounted"
mount -t tmpfs -o mode=755,size=16m upper /upper
mkdir /upper/top /upper/work
mount -t overlay -o nosuid,nodev,lowerdir=/lower,upperdir=/upper/top,workdir=/upper/work overlay /root ||
  fail "the root file system cannot be covered"
cd /root
mkdir -p workspace tmp proc sys dev run etc
disk workspace
# One commit a second, with the data before it: what is lost at a cut is what was written within the last second or so.
mount -t ext4 -o nosuid,nodev,noatime,nodelalloc,commit=1 "$disk" workspace ||
  fail "the workspace cannot be mounted"
rmdir workspace/lost+found 2>/dev/null
mount -t tmpfs -o nosuid,nodev,mode=1777 tmp tmp
mkdir tmp/home
chown 1000:1000 tmp/home
mount -t proc -o nosuid,nodev,noexec,hidepid=2 proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o nosuid,mode=755,size=64k dev dev
for one in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 ptmx:5:2; do
  IFS=: read -r name major minor <<END
$one
END
  mknod -m 666 "dev/$name" c "$major" "$minor"
done
mkdir dev/pts dev/shm
mount --bind /dev/pts dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777,size=16m shm dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -o remount,ro dev
rm -rf run
mkdir run
cp /bin/busybox /start run
grep -q '^[^:]*:[^:]*:1000:' etc/passwd 2>/dev/null || echo "agent:x:1000:1000:agent:/tmp/home:/bin/sh" >>etc/passwd
grep -q '^[^:]*:[^:]*:1000:' etc/group 2>/dev/null || echo "agent:x:1000:" >>etc/group
echo sandbox >etc/hostname
echo "127.0.0.1 localhost sandbox" >etc/hosts
hostname sandbox
mount_read
mount -o remount,ro /root || fail "the root file system cannot be made read-only"
cd /

ip link set lo up
if [ "$ADDRESS" ]; then
  # The other end is the proxy's: there is no route, no name server, and nothing beyond.
  tries=0
  until [ -e /sys/class/net/eth0 ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || fail "the guest's kernel has no network device: add virtio_net to its modules"
    usleep 10000
  done
  for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >"$file"; done 2>/dev/null
  ip address add "$ADDRESS" dev eth0 && ip link set eth0 up || fail "the network device cannot be set up"
fi
echo 1 >/proc/sys/kernel/dmesg_restrict
echo 2 >/proc/sys/kernel/kptr_restrict
echo 2 >/proc/sys/kernel/unprivileged_bpf_disabled
echo 1 >/proc/sys/kernel/modules_disabled
# Room for init and its helpers beyond the agent's own limit.
echo $((PIDS + 300)) >/proc/sys/kernel/pid_max

# A process in a chroot can make no user namespaces (user_namespaces(7)), and so come to no capabilities.
cat >/launch <<END
#!/bin/sh
echo 0 >/proc/self/oom_score_adj
echo \$\$ >/run/pid
cd /
ulimit -c 0
ulimit -n 4096
# -u since busybox 1.35, -p before.
ulimit -u $PIDS 2>/dev/null || ulimit -p $PIDS || exit 126
exec chroot /root /run/busybox setpriv --nnp /run/busybox nsenter -F -S 1000 -G 1000 /run/busybox sh /run/start
END
# telnetd gives a terminal and knows of window sizes; the cell speaks its protocol. The mark is written to the terminal itself, so
# that it comes behind all that the agent wrote.
cat >/terminal <<END
#!/bin/sh
trap : HUP INT QUIT TERM
chown 1000:1000 "\$(tty)"
stty rows $ROWS cols $COLUMNS
setsid -c sh /launch
echo \$? >/run/code.new
mv /run/code.new /run/code
read -r _ </run/finish
stty sane opost
printf %s "$MARK"
exec sleep 1000000
END
chmod 755 /launch /terminal
mkfifo -m 600 /run/in /run/out /run/err /run/finish
chown 1000:1000 /run/in /run/out /run/err

echo ready >&3
read -r verb seconds <&3
[ "$verb" = go ] || poweroff -f
date -s "@$seconds" >/dev/null

relay() {
  { cat "/run/$1"; printf %s "$MARK"; } >"$2"
}

# Ends what is left of the agent's, and brings its workspace to the disk. As its own user, kill(-1) reaches all of it
# at once and nothing else.
finish() {
  tries=0
  while [ $tries -lt 100 ]; do
    (ulimit -u unlimited || ulimit -p unlimited; exec nsenter -F -S 1000 -G 1000 /bin/busybox kill -9 -1) 2>/dev/null
    release
    umount /root/workspace 2>/dev/null && break
    tries=$((tries + 1))
    usleep 10000
  done
  sync
  echo "ended $1" >&3
}

while read -r verb value <&3; do
  # To its whole process group, as a terminal would.
  [ "$verb" = signal ] && kill "-$value" -- "-$(cat /run/pid)"
done 2>/dev/null &

# The agent is started in the foreground: a shell has what it puts into the background ignore interrupts.
if [ "$TERMINAL" ]; then
  {
    until [ -s /run/code ]; do usleep 20000; done
    finish "$(cat /run/code)"
    echo >/run/finish
  } &
  telnetd -i -K -l /terminal <>"$port_terminal" >&0 9>&3 3>&-
else
  cat "$port_in" >/run/in 2>/dev/null &
  relay out "$port_out" &
  relay err "$port_err" &
  setsid sh /launch </run/in >/run/out 2>/run/err 9>&3 3>&-
  finish $?
fi
# The cell ends the machine.
while :; do sleep 1000000; done

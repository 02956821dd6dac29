extension OwnKernel {
  /// What a guest may want of its kernel, and a script of bash that fails where it is not there.
  static let features: [(String, String)] = [
    (
      "modprobe knows what is built in",
      "modprobe overlay; modprobe br_netfilter; modprobe ip_tables; modprobe wireguard"
    ),
    ("the configuration", "grep -x CONFIG_IA32_EMULATION=y <(zcat /proc/config.gz)"),
    (
      "no network device that nobody made",
      "test \"$(ls /sys/class/net | tr '\\n' ' ')\" = 'eth0 lo '"
    ),
    ("nftables", nftables),
    ("iptables through nftables", iptables("iptables-nft") + iptables("ip6tables-nft")),
    ("iptables of old", iptables("iptables-legacy") + iptables("ip6tables-legacy")),
    (
      "ipset",
      "ipset create a hash:ip; ipset add a 10.0.0.1; iptables-nft -A INPUT -m set --match-set a src -j DROP"
    ),
    (
      "links",
      """
      ip link add b0 type bridge vlan_filtering 1
      ip link add v0 type veth peer name v1
      ip link set v0 master b0
      ip link add link eth0 name m0 type macvlan mode bridge
      ip link add link eth0 name vl0 type vlan id 7
      ip link add x0 type vxlan id 7 dstport 4789 dev eth0
      ip link add g0 type geneve id 7 remote 10.0.0.2
      ip link add w0 type wireguard
      ip link add d0 type dummy
      ip link add i0 type ifb
      ip link add t0 type ipip remote 10.9.9.9
      ip link add t1 type gre remote 10.9.9.8
      """
    ),
    ("ipvlan", "ip link add v2 type veth peer name v3; ip link add link v2 name iv0 type ipvlan mode l2"),
    ("TUN and TAP", "ip tuntap add mode tun tun0; ip tuntap add mode tap tap0; test -c /dev/net/tun"),
    ("IPv6", "ip -6 addr add fd00::1/64 dev lo; ping -6 -c 1 fd00::1; test -e /proc/net/if_inet6"),
    (
      "routing by rules",
      """
      ip rule add fwmark 7 table 100; ip route add blackhole default table 100
      ip -6 rule add fwmark 7 table 100
      """
    ),
    (
      "queueing",
      """
      ip link set lo up
      tc qdisc add dev lo root handle 1: htb default 1
      tc class add dev lo parent 1: classid 1:1 htb rate 100mbit
      tc qdisc add dev lo parent 1:1 netem delay 1ms
      tc qdisc add dev lo ingress
      tc filter add dev lo parent ffff: u32 match u32 0 0 action mirred egress redirect dev lo
      tc filter add dev lo parent ffff: flower action drop
      tc qdisc del dev lo root
      tc qdisc del dev lo ingress
      for q in fq fq_codel sfq tbf\\ rate\\ 1mbit\\ burst\\ 10k\\ latency\\ 1s; do tc qdisc replace dev lo root $q; done
      """
    ),
    ("BBR", "echo bbr >/proc/sys/net/ipv4/tcp_congestion_control"),
    (
      "name spaces, as root and as a user",
      """
      unshare --mount --uts --ipc --net --pid --cgroup --time --fork true
      setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user --net --mount true
      """
    ),
    (
      "control groups, version 2",
      "for c in cpuset cpu io memory hugetlb pids rdma misc; do grep -qw $c /sys/fs/cgroup/cgroup.controllers; done"
    ),
    (
      "control groups, version 1",
      """
      mkdir -p /mnt/v1
      for c in devices freezer net_cls net_prio perf_event cpuacct blkio; do grep -qw $c /proc/cgroups; done
      mount -t cgroup -o net_cls,net_prio none /mnt/v1
      umount /mnt/v1
      """
    ),
    (
      "overlay, also as a user",
      """
      mount -t tmpfs none /mnt
      mkdir /mnt/{l,u,w,m}
      mount -t overlay none -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m
      umount /mnt/m
      unshare --user --map-root-user --mount sh -c \\
        'mount -t tmpfs none /mnt && mkdir /mnt/l /mnt/u /mnt/w /mnt/m &&
        mount -t overlay none -o userxattr,lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m'
      umount /mnt
      """
    ),
    (
      "file systems",
      """
      for f in ext2 ext4 overlay erofs squashfs fuse virtiofs nfs nfs4 iso9660 vfat autofs tmpfs hugetlbfs mqueue configfs \\
        binfmt_misc bpf; do
        grep -qw $f /proc/filesystems || { echo no $f; exit 1; }
      done
      mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
      mount -t bpf none /sys/fs/bpf
      mountpoint /dev/mqueue
      """
    ),
    (
      "loop devices and device mapper",
      """
      truncate -s 8M /tmp/disk; mkfs.ext4 -q /tmp/disk
      mkdir -p /tmp/on; mount -o loop /tmp/disk /tmp/on; umount /tmp/on
      loop=$(losetup --find --show /tmp/disk)
      dmsetup create crypt --table "0 8192 crypt aes-xts-plain64 $(printf '%032d%032d' 1 2) 0 $loop 0"
      dmsetup remove crypt; losetup -d $loop
      grep thin-pool <(dmsetup targets)
      """
    ),
    (
      "devices",
      "for d in fuse loop-control mapper/control kmsg ptmx zram0 hwrng rtc0; do test -e /dev/$d || exit 1; done"
    ),
    (
      "seccomp and Landlock",
      "grep -q errno /proc/sys/kernel/seccomp/actions_avail; grep -q ' landlock_' /proc/kallsyms"
    ),
    ("BPF's compiler", "test \"$(cat /proc/sys/net/core/bpf_jit_enable)\" = 1"),
    ("pressure", "grep some /proc/pressure/memory"),
    ("a clock that goes", "a=$(date +%s%N); sleep 0.05; test $(($(date +%s%N) - a)) -ge 50000000"),
  ]

  private static let nftables = """
    nft -f - <<'END'
    table inet t {
      set s { type ipv4_addr; flags interval, timeout; elements = { 10.0.0.0/8 }; }
      map m { type inet_service : verdict; elements = { 80 : accept }; }
      chain i {
        type filter hook input priority 0;
        ct state established,related accept
        ip saddr @s counter limit rate 5/second log prefix "x" accept
        tcp dport vmap @m
        meta l4proto udp fib daddr type local quota 1 mbytes reject
      }
      chain n {
        type nat hook postrouting priority 100;
        oifname "eth0" masquerade
      }
      chain p {
        type nat hook prerouting priority -100;
        tcp dport 81 dnat ip to 10.0.0.3:80
        tcp dport 82 redirect to :83
      }
      chain q {
        type filter hook prerouting priority -150;
        numgen random mod 2 0 meta mark set 1
        tcp dport 84 queue num 0
      }
    }
    table bridge b {
      chain f {
        type filter hook forward priority 0;
        ip saddr 10.0.0.1 drop
      }
    }
    table netdev d {
      chain g {
        type filter hook ingress device "eth0" priority 0;
        udp dport 1 drop
      }
    }
    END
    nft flush ruleset
    """

  /// What Docker, Podman and kube-proxy write.
  private static func iptables(_ program: String) -> String {
    """

    i=\(program)
    $i -t nat -N D
    $i -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j D
    $i -t nat -A POSTROUTING ! -o lo -m comment --comment "a b" -j MASQUERADE --random-fully
    $i -t nat -A D -p tcp --dport 80 -j REDIRECT --to-ports 81
    $i -t nat -A D -m statistic --mode random --probability 0.5 -j RETURN
    $i -t nat -A D -m recent --name k --rcheck --seconds 10 -j RETURN
    $i -t mangle -A PREROUTING -j MARK --set-xmark 0x4000/0x4000
    $i -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
    $i -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack
    $i -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    $i -A FORWARD -m mark --mark 0x4000/0x4000 -m physdev --physdev-is-bridged -j ACCEPT
    $i -A INPUT -p tcp -m multiport --dports 1,2 -m limit --limit 5/s -j LOG
    $i -A INPUT -m string --algo bm --string x -m hashlimit --hashlimit-name h --hashlimit-upto 5/s -j DROP
    $i -A OUTPUT -m owner --uid-owner 7 -j REJECT
    $i -F; $i -t nat -F; $i -t mangle -F; $i -t raw -F; $i -t nat -X
    """
  }
}
